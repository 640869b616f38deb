#include "command/command_line.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <set>
#include <type_traits>

#include "command/run_options.h"
#include "command/text.h"
#include "command/toml.h"
#include "minim/runtime/error.h"
#include "minim/runtime/gpu_model.h"

namespace minim::command {
namespace {

constexpr const char* kVersion = "minim " MINIM_VERSION;
constexpr const char* kExitCodes =
    "Exit codes: 0 finished, 1 other errors, 2 bad options or files, 3 gradients stay non-finite, 4 a rank failed or was "
    "silent,\n"
    "75 stopped by SIGTERM, SIGUSR1 or the end of the allocation and saved: continue with --resume.";

template <class T>
const char* type_name() {
  if constexpr (std::is_same_v<T, bool>)
    return "on|off";
  else if constexpr (std::is_floating_point_v<T>)
    return "NUMBER";
  else if constexpr (std::is_integral_v<T>)
    return "INTEGER";
  else
    return "TEXT";
}

std::string joined(const std::vector<std::string>& words) { return fmt::format("{}", fmt::join(words, "|")); }

/// Refuses what is not among `choices`, in one line that lists them.
CLI::Validator one_of(const std::vector<std::string>& choices) {
  return CLI::Validator(
      [choices](std::string& text) {
        const bool known = std::find(choices.begin(), choices.end(), text) != choices.end();
        return known ? std::string() : fmt::format("\"{}\" is not one of {}", text, joined(choices));
      },
      "");
}

/// Refuses what could not be written into a checkpoint's manifest, which is JSON.
CLI::Validator utf_8() {
  return CLI::Validator(
      [](std::string& text) { return is_utf_8(text) ? std::string() : fmt::format("{} is not UTF-8", quoted_utf_8(text)); }, "");
}

template <class T>
void add_option(CLI::App& app, const OptionInfo& info, T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    if (info.is_flag) {
      app.add_flag(fmt::format("--{}", info.name), value, info.help)->group(info.group);
      return;
    }
  }
  CLI::Option* option = app.add_option(fmt::format("--{}", info.name), value, info.help);
  option->group(info.group)->take_last()->type_name(info.choices.empty() ? type_name<T>() : joined(info.choices));
  if (!info.choices.empty()) option->check(one_of(info.choices));
  if constexpr (std::is_same_v<T, std::string>) option->check(utf_8());
  if constexpr (std::is_same_v<T, bool>) option->default_str(value ? "on" : "off");
  // Where 0 or nothing stands for a choice of ours, the help text says which.
  else if (std::string_view(info.help).find("[default") == std::string_view::npos)
    option->capture_default_str();
}

void add_run_options(CLI::App& app, RunConfig& config) {
  visit_options(config, [&](const OptionInfo& info, auto& value) { add_option(app, info, value); });
}

std::string network_help() {
  std::vector<std::string> usual;
  for (const GpuModel& model : gpu_models()) usual.push_back(fmt::format("{} {:.0f}", model.name, model.network_gbit));
  return fmt::format("Gbit/s of the network link that each GPU named by --device has [default: {}]", fmt::join(usual, ", "));
}

/// --device of `minim plan`.
OptionInfo with_gpu_models(OptionInfo info) {
  info.help =
      "Where to compute, or a GPU that need not be here: memory on it, bounds on the times of a step, and how much of the "
      "communication hides under them";
  for (const GpuModel& model : gpu_models()) info.choices.emplace_back(model.name);
  return info;
}

struct Parser {
  CLI::App app{"Trains neural networks in mixed precision over MPI ranks: mpirun -np 2 minim train", "minim"};
  CLI::App* train = app.add_subcommand("train", "Train a network; start it with mpirun or srun");
  CLI::App* eval = app.add_subcommand("eval", "Evaluate the newest checkpoint of a run, or weights in a file");
  CLI::App* plan = app.add_subcommand("plan", "Print memory, FLOPs and traffic of a step; runs nothing");
  CLI::App* doctor = app.add_subcommand("doctor", "Report ranks, binding, threads, libraries and devices; also under mpirun");
  CLI::App* export_weights = app.add_subcommand("export", "Write a run's newest weights as one safetensors file");
  CLI::App* inspect = app.add_subcommand("inspect", "Print what --inspect has seen of a run's numbers, and its checkpoints");

  Request request;

  explicit Parser(const RunConfig& base) {
    request.config = base;
    app.require_subcommand(1);
    app.set_version_flag("--version", kVersion);
    app.footer(kExitCodes);
    app.get_formatter()->column_width(34);
    add_train();
    add_eval();
    add_plan();
    add_files();
  }

  void add_config(CLI::App& command) {
    command.add_option("--config", request.config_file, "TOML file with options as keys; the command line overrides it")
        ->group(groups::kOutput)
        ->check(utf_8())
        ->type_name("FILE");
  }
  void add_train() {
    train->footer(kExitCodes);
    add_run_options(*train, request.config);
    train->add_flag("--resume", request.resume, "Continue the run in --output from its newest sound checkpoint")
        ->group(groups::kOutput);
    add_config(*train);
  }
  void add_eval() {
    eval->add_option("run", request.run, "Directory of the run, or a safetensors file with the weights of --model")
        ->required()
        ->type_name("RUN");
    eval->add_option("--logits", request.file, "safetensors file that takes the logits of all images")
        ->group(groups::kOutput)
        ->type_name("FILE");
    visit_options(request.config, [&](const OptionInfo& info, auto& value) {
      static const std::set<std::string> wanted = {"model",    "width",   "dataset", "data",    "image-size",
                                                   "channels", "classes", "batch",   "samples", "precision",
                                                   "deadline", "device",  "threads"};
      if (wanted.contains(info.name)) add_option(*eval, info, value);
    });
  }
  void add_plan() {
    plan->add_option("--ranks", request.ranks, "Number of ranks")
        ->capture_default_str()
        ->check(CLI::Range(1, 1 << 20))
        ->type_name("INTEGER");
    plan->add_flag("--operations", request.operations, "List every kernel with its cost and the set it comes from");
    plan->add_option("--network", request.network_gbit, network_help())->check(CLI::PositiveNumber)->type_name("NUMBER");
    visit_options(request.config, [&](OptionInfo info, auto& value) {
      if (info.group == std::string_view(groups::kOutput) || info.group == std::string_view(groups::kHidden)) return;
      if (info.name == std::string_view("device")) info = with_gpu_models(info);
      add_option(*plan, info, value);
    });
    add_config(*plan);
  }
  void add_files() {
    export_weights->add_option("run", request.run, "Directory of the run")->required()->type_name("RUN");
    export_weights->add_option("file", request.file, "File to write")->required()->type_name("FILE");
    export_weights->add_option("--dtype", request.dtype, "Type of the weights")
        ->capture_default_str()
        ->check(one_of({"fp16", "fp32"}))
        ->type_name("fp16|fp32");
    inspect->add_option("run", request.run, "Directory of the run")->required()->type_name("RUN");
    inspect->add_option("--step", request.step, "Of a run with --inspect: this step alone [default: all, the last in detail]")
        ->check(CLI::PositiveNumber)
        ->type_name("STEP");
    inspect->add_option("--csv", request.csv, "Write what was seen of all tensors to this file instead")->type_name("FILE");
    inspect->add_option("--html", request.html, "Write a page with all histograms to this file instead")->type_name("FILE");
  }

  Action action() const {
    if (eval->parsed()) return Action::eval;
    if (plan->parsed()) return Action::plan;
    if (doctor->parsed()) return Action::doctor;
    if (export_weights->parsed()) return Action::export_weights;
    if (inspect->parsed()) return Action::inspect;
    return Action::train;
  }

  void parse(const std::vector<std::string>& arguments) {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));  // CLI11 wants them from last to first
    request.action = action();
    request.arguments = arguments;
  }
};

/// The first argument where it is no option: the command, or what was meant as one.
std::string first_word(const std::vector<std::string>& arguments) {
  const bool named = !arguments.empty() && arguments.front().find('-') != 0;
  return named ? arguments.front() : "";
}

[[noreturn]] void rethrow(const Parser& parser, const CLI::ParseError& error, const std::vector<std::string>& arguments) {
  if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) {
    std::ostringstream text, ignored;
    parser.app.exit(error, text, ignored);
    throw NothingToRun(text.str(), false);
  }
  const std::string command = first_word(arguments);
  std::vector<std::string> commands;
  for (const CLI::App* known : parser.app.get_subcommands([](const CLI::App*) { return true; })) {
    commands.push_back(known->get_name());
  }
  if (!command.empty() && std::find(commands.begin(), commands.end(), command) == commands.end()) {
    throw NothingToRun(fmt::format("there is no command \"{}\" among {}", command, joined(commands)), true);
  }
  std::string text = error.what();
  std::replace(text.begin(), text.end(), '\n', ' ');
  while (!text.empty() && (text.back() == ' ' || text.back() == '.')) text.pop_back();
  throw NothingToRun(fmt::format("{} (see minim{}{} --help)", text, command.empty() ? "" : " ", command), true);
}

RunConfig apply_entry(const RunConfig& base, const TomlEntry& entry, const std::filesystem::path& file) {
  const std::string where = fmt::format("{}:{}", file.string(), entry.line);
  RunConfig result = base;
  CLI::App app;
  add_run_options(app, result);
  CLI::Option* option = app.get_option_no_throw("--" + entry.key);
  if (option == nullptr || entry.key == "help") throw DataError(fmt::format("{}: unknown option \"{}\"", where, entry.key));
  try {
    option->add_result(entry.value);
    option->run_callback();
  } catch (const CLI::ParseError& error) {
    throw DataError(fmt::format("{}: {}", where, error.what()));
  }
  return result;
}

RunConfig apply_entries(RunConfig base, const std::vector<TomlEntry>& entries, const std::filesystem::path& file) {
  for (const TomlEntry& entry : entries) base = apply_entry(base, entry, file);
  return base;
}

}  // namespace

RunConfig apply_file(RunConfig base, const std::filesystem::path& file) {
  return apply_entries(std::move(base), read_toml(file), file);
}

RunConfig apply_toml(RunConfig base, std::string_view text, const std::filesystem::path& file) {
  return apply_entries(std::move(base), parse_toml(text, file), file);
}

RunConfig apply_arguments(RunConfig base, const Request& request) {
  Parser parser(base);
  parser.parse(request.arguments);
  return parser.request.config;
}

Request parse_command_line(const std::vector<std::string>& arguments) {
  Parser parser{RunConfig{}};
  try {
    parser.parse(arguments);
  } catch (const CLI::ParseError& error) {
    rethrow(parser, error, arguments);
  }
  Request request = parser.request;
  if (!request.config_file.empty()) request.config = apply_arguments(apply_file(RunConfig{}, request.config_file), request);
  return request;
}

}  // namespace minim::command
