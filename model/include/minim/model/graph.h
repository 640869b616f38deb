#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "minim/model/model.h"
#include "minim/model/operation.h"
#include "minim/runtime/kernels/activation.h"
#include "minim/runtime/kernels/convolution.h"
#include "minim/runtime/kernels/local_response_norm.h"
#include "minim/runtime/kernels/pooling.h"

namespace minim {

/// A tensor in a graph. A cheap handle, valid for the graph that made it.
struct Value {
  int id = -1;
};

/// What random weights keep the variance of, through ReLU layers. Source: He et al., arXiv:1502.01852, section 2.2.
enum class Keep : std::uint8_t { gradients, activations };

struct Conv2dOptions {
  std::int64_t kernel_h = 1, kernel_w = 1;
  Conv2dGeometry geometry = {};
  bool bias = false;
  Activation activation = Activation::none;
  Keep keep = Keep::gradients;
};

struct Conv2dTransposeOptions {
  std::int64_t kernel_h = 1, kernel_w = 1;
  Conv2dGeometry geometry = {};  ///< of the convolution that goes the other way: padding is cut off the output
  std::int64_t output_padding_h = 0, output_padding_w = 0;  ///< rows and columns more at the end, less than the stride
  bool bias = false;
};

struct LinearOptions {
  bool bias = true;
  Activation activation = Activation::none;
};

struct BatchNormOptions {
  double momentum = 0.1;
  double epsilon = 1e-5;
  double gamma_initial = 1;
  Activation activation = Activation::none;
};

struct LayerNormOptions {
  double epsilon = 1e-5;
};

struct LossOptions {
  double label_smoothing = 0;
  double weight = 1;  ///< how often its gradient counts beside those of other losses; its sums are not multiplied
};

/// The three sums of a loss over the samples of a step.
struct LossValues {
  Value loss;     ///< [1], fp32
  Value weight;   ///< [1], fp32
  Value correct;  ///< [1], fp32
};

/// A network as a static graph of operations over the parameters of a model. Built once for training and once for evaluation.
/// Shapes are checked while building: an operation that does not fit throws InvalidArgument with its name and both shapes.
class Graph {
 public:
  enum class Mode : std::uint8_t { training, evaluation };

  Graph(Model& model, Mode mode);

  Mode mode() const { return mode_; }
  Model& model() const { return *model_; }

  /// A tensor that the caller fills. `shape` may hold Shape::kBatch. With `valid_samples`, an int32 input of shape [1], the first
  /// dimension is a capacity and the integer says how many samples count; operations pass it on to what they compute.
  Value input(const std::string& name, ElementType element, Shape shape, std::optional<Value> valid_samples = {});
  /// Makes a value readable under a name after a step.
  void output(const std::string& name, Value value);

  /// Adds an operation; a program's own operations come in here too. `name` is unique and prefixes its parameters.
  std::vector<Value> add(const std::string& name, std::unique_ptr<Operation> operation, std::vector<Value> inputs,
                         std::vector<Parameter*> parameters = {}, std::vector<State*> states = {});

  Value conv2d(const std::string& name, Value x, std::int64_t channels, Conv2dOptions options);
  /// The transpose of a convolution, as PyTorch defines it: of height (H - 1) * stride - padding + dilation * (kernel - 1) +
  /// output padding + 1, with the padding of both sides. A bias is added to the rounded sums and the result rounded again.
  Value conv2d_transpose(const std::string& name, Value x, std::int64_t channels, Conv2dTransposeOptions options);
  /// x: [N, I], or [N, H, W, C], which is flattened: the columns of the logical weight are then in the order of channels, rows
  /// and columns, as frameworks have them whose images are [N, C, H, W].
  Value linear(const std::string& name, Value x, std::int64_t features, LinearOptions options = {});
  /// With an addend, such as the shortcut of a residual block, that is added before the activation.
  Value batch_norm(const std::string& name, Value x, BatchNormOptions options = {}, std::optional<Value> addend = {});
  /// Over the last dimension, of each position by itself.
  Value layer_norm(const std::string& name, Value x, LayerNormOptions options = {});
  /// Rows of a table of `rows` rows of `features` numbers: [N] or [N, T] of int32 or int64 become [N, features] or
  /// [N, T, features]. Whoever fills `indices` sees to it that each is in [0, rows): another one makes its row NaN, and no step
  /// that has seen it is applied.
  Value embedding(const std::string& name, Value indices, std::int64_t rows, std::int64_t features);
  Value relu(const std::string& name, Value x);
  /// x where x > 0, else slope * x.
  Value leaky_relu(const std::string& name, Value x, double slope = 0.01);
  Value sigmoid(const std::string& name, Value x);
  Value tanh(const std::string& name, Value x);
  /// x times the normal distribution at x, by erf: the exact form.
  Value gelu(const std::string& name, Value x);
  Value max_pool(const std::string& name, Value x, PoolGeometry geometry);
  Value average_pool(const std::string& name, Value x, PoolGeometry geometry, bool count_padding = false);
  Value global_average_pool(const std::string& name, Value x);
  Value local_response_norm(const std::string& name, Value x, ResponseWindow window = {});
  Value sum(const std::string& name, std::vector<Value> inputs);
  Value concat(const std::string& name, std::vector<Value> inputs);
  Value flatten(const std::string& name, Value x);
  /// In evaluation the identity. Training graphs with dropout have the int64 inputs "attempted_step" ([1]) and
  /// "sample_ids" ([N]).
  Value dropout(const std::string& name, Value x, double rate);
  /// Adds the loss whose gradient starts backward. `sample_weights`: [N], fp32.
  LossValues softmax_cross_entropy(const std::string& name, Value logits, Value labels, LossOptions options = {},
                                   std::optional<Value> sample_weights = {});

  const ValueSpec& spec(Value value) const;

  struct Node {
    std::string name;
    std::unique_ptr<Operation> operation;
    std::vector<Value> inputs;
    std::vector<Value> outputs;
    std::vector<Parameter*> parameters;
    std::vector<State*> states;
  };
  struct NamedValue {
    std::string name;
    Value value;
  };
  const std::vector<Node>& nodes() const { return nodes_; }
  const std::vector<NamedValue>& inputs() const { return inputs_; }
  const std::vector<NamedValue>& outputs() const { return outputs_; }
  /// The valid-samples input that counts the first dimension of `value`, if it has one.
  std::optional<Value> valid_samples(Value value) const;

 private:
  std::vector<ValueSpec> infer(const std::string& name, const Operation& operation, std::span<const Value> inputs) const;
  Value shared_input(const std::string& name, ElementType element, Shape shape);

  Model* model_;
  Mode mode_;
  std::vector<ValueSpec> specs_;
  std::vector<int> valid_samples_;  ///< per value, -1: all samples count
  std::vector<Node> nodes_;
  std::vector<NamedValue> inputs_;
  std::vector<NamedValue> outputs_;
};

}  // namespace minim
