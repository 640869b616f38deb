#include "agreement_kernels.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "minim/optimizer/update_rule.h"
#include "minim/runtime/cuda.h"
#include "runtime/mirror.h"

namespace minim {
namespace {

template <class T>
TensorView bytes_of(T& value) {
  return {&value, DType::uint8, Shape{sizeof(T)}};
}

/// The kernels of the CUDA module.
class CudaAgreement : public ::testing::Test {
 protected:
  template <class Args>
  void run(const Args& args) {
    run_mirrored(*backend_, *stream_, args);
  }

 private:
  static std::unique_ptr<Backend> make_backend() {
    auto backend = make_cuda_backend({});
    add_agreement_kernels(*backend);
    return backend;
  }

  std::unique_ptr<Backend> backend_ = make_backend();
  std::unique_ptr<Stream> stream_ = backend_->make_stream("test");
};

/// Records of a step in which a rank may have non-finite gradients, an error or no sample, or be asked to stop.
std::vector<AgreementRecord> make_records(std::mt19937& random, std::size_t ranks, const StepState& state) {
  std::uniform_real_distribution<double> positive(0.1, 10);
  std::vector<AgreementRecord> records(ranks);
  const bool empty = random() % 16 == 0;
  for (AgreementRecord& record : records) {
    record.step = state.attempted;
    record.loss = positive(random);
    record.weight = empty ? 0 : positive(random);
    record.correct = positive(random);
    for (double& sum : record.sum_squares) sum = positive(random);
  }
  AgreementRecord& odd = records[random() % ranks];
  switch (random() % 12) {
    case 0: odd.error_code = 7; break;
    case 1: odd.step += 1; break;
    case 2: odd.configuration = 5; break;
    case 3: odd.stop_requested = 1; break;
    case 4: odd.loss = std::numeric_limits<double>::infinity(); break;
    case 5:
    case 6:
      odd.non_finite = 3;
      odd.first_bad_parameter = 11;
      break;
    default: break;
  }
  return records;
}

TEST_F(CudaAgreement, FoldsToTheBitsOfTheHost) {
  std::mt19937 random(1);
  std::vector<float> rates = {0.5F, 0.25F, 0.125F, 0.1F};
  for (const std::size_t ranks : {1, 2, 5}) {
    for (const auto mode : {LossScaleMode::dynamic, LossScaleMode::constant, LossScaleMode::off}) {
      const AgreementConfig config{.loss_scale = {.mode = mode, .initial = 4, .growth_interval = 2, .max_consecutive_skips = 3},
                                   .nominal_weight = 3,
                                   .groups = 2,
                                   .clip_norm = 2.5};
      StepState wanted = initial_state(config.loss_scale);
      StepState found = wanted;
      for (int step = 0; step < 60; ++step) {
        std::vector<AgreementRecord> records = make_records(random, ranks, wanted);
        fold_agreement(wanted, records, config, rates);
        run(FoldAgreement{.config = config,
                          .records = {records.data(), DType::uint8, Shape{static_cast<std::int64_t>(ranks * sizeof records[0])}},
                          .learning_rates = {rates.data(), DType::fp32, Shape{static_cast<std::int64_t>(rates.size())}},
                          .state = bytes_of(found)});
        ASSERT_EQ(std::memcmp(&found, &wanted, sizeof found), 0) << "step " << step << " of " << ranks << " ranks";
      }
      EXPECT_GT(wanted.applied, 0);
      EXPECT_LT(wanted.applied, wanted.attempted);
    }
  }
}

TEST_F(CudaAgreement, FillsTheRecordOfTheHost) {
  const auto host = make_reference_backend();
  const auto stream = host->make_stream("test");
  add_agreement_kernels(*host);
  for (const std::int32_t code : {0, 9}) {
    for (const std::int32_t overflow : {kNoOverflow, 17}) {
      float sums[] = {1.5F, 2.5F, 3.5F};
      const std::int32_t report[] = {code, 1};
      StepState state;
      state.attempted = 42;
      AgreementRecord wanted, found;
      const auto fill = [&](AgreementRecord& record) {
        return FillRecord{.loss = {&sums[0], DType::fp32, Shape{1}},
                          .weight = {&sums[1], DType::fp32, Shape{1}},
                          .correct = {&sums[2], DType::fp32, Shape{1}},
                          .report = {report, DType::int32, Shape{2}},
                          .overflow = {&overflow, DType::int32, Shape{1}},
                          .state = bytes_of(state),
                          .configuration = 0x123456789ABCDEF0,
                          .record = bytes_of(record)};
      };
      host->run(*stream, fill(wanted));
      run(fill(found));
      EXPECT_EQ(std::memcmp(&found, &wanted, sizeof found), 0);
      EXPECT_EQ(found.error_code, code != 0 ? code : overflow != kNoOverflow ? 1000 : 0);
    }
  }
}

}  // namespace
}  // namespace minim
