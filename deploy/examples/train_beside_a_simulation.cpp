// An MPI application in which rank 0 simulates and the other ranks train a network: mpirun -np 3 train_beside_a_simulation
#include <mpi.h>

#include <cstdio>

#include "minim/comm/mpi.h"
#include "minim/launcher/trainer.h"
#include "minim/model/data/loader.h"
#include "softsign.h"

using namespace minim;

void build(Graph& graph, const ImageTask& task) {
  const Value images = graph.input("images", ElementType::activation, {Shape::kBatch, task.height, task.width, task.channels});
  const Value labels = graph.input("labels", ElementType::int32, {Shape::kBatch});
  const Value x = graph.conv2d("conv", images, 8, {.kernel_h = 3, .kernel_w = 3, .bias = true});
  const Value y = graph.add("softsign", std::make_unique<Softsign>(), {x}).front();
  const LossValues sums = graph.softmax_cross_entropy("loss", graph.linear("fc", y, task.classes), labels);
  graph.output("loss", sums.loss);
  graph.output("weight", sums.weight);
  graph.output("correct", sums.correct);
}

void train(MPI_Comm ranks) {
  const auto communicator = make_mpi_communicator(ranks);
  const auto backend = make_cpu_backend(1);
  add_softsign(*backend);
  const auto data = make_synthetic({.height = 12, .width = 12, .channels = 1, .classes = 4}, 512, 1, Split::train);
  Model model;
  Graph graph(model, Graph::Mode::training);
  build(graph, data->task());
  PhaseConfig phase{.graphs = {&graph}, .batch = 16};
  phase.optimizer.schedule = {.base = 0.02, .total_steps = 100};
  Trainer trainer(*backend, *communicator, model, {phase}, {.precision = Precision::mixed});
  TrainingLoader loader(
      *data, *backend,
      {.batch = 16, .rank = communicator->rank(), .world_size = communicator->size(), .dtype = compute_dtype(Precision::mixed)});
  for (int step = 0; step < 100; ++step) {
    trainer.step([&](const MicroBatch& micro_batch) {
      const Batch& batch = loader.next();
      micro_batch.stream.copy(micro_batch.plans[0]->input("images"), batch.images);
      micro_batch.stream.copy(micro_batch.plans[0]->input("labels"), batch.labels);
      return 0;
    });
    const StepState& state = trainer.state();
    if (communicator->rank() == 0 && step % 33 == 0) std::printf("step %d: loss %.3f\n", step, state.loss / state.weight);
  }
}

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm part = MPI_COMM_NULL;
  MPI_Comm_split(MPI_COMM_WORLD, rank == 0 ? 0 : 1, rank, &part);
  double x = 1, y = 0;  // rank 0: a point that goes round
  if (rank != 0) train(part);
  for (int i = 0; rank == 0 && i < 10'000'000; ++i) x -= 1e-6 * y, y += 1e-6 * x;
  MPI_Barrier(MPI_COMM_WORLD);
  if (rank == 0) std::printf("simulated: %.3f %.3f\n", x, y);
  MPI_Comm_free(&part);
  MPI_Finalize();
}
