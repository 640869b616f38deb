#include "command/progress.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "command/text.h"

namespace minim::command {
namespace {

constexpr int kBarColumns = 12;
constexpr int kDefaultColumns = 120;  // where the terminal does not say, as under mpirun
constexpr std::chrono::milliseconds kRedraw{100};

int terminal_columns(std::FILE* stream) {
  winsize size{};
  if (ioctl(fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  // Open MPI's pseudo terminals have no size: ask that of mpirun itself.
  const int terminal = open(fmt::format("/proc/{}/fd/1", getppid()).c_str(), O_RDONLY | O_NOCTTY | O_CLOEXEC);
  if (terminal < 0) return kDefaultColumns;
  const bool known = ioctl(terminal, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  close(terminal);
  return known ? size.ws_col : kDefaultColumns;
}

std::string figures(const ProgressState& state) {
  std::string text =
      state.epochs > 0 ? fmt::format("epoch {}/{}  ", state.epoch, state.epochs) : fmt::format("epoch {}  ", state.epoch);
  text += fmt::format("step {}/{}  loss {:.4f}  accuracy {:.1f}%  {:.0f} images/s  scale {:g}  skipped {}  left {}", state.step,
                      state.total_steps, state.loss, 100 * state.accuracy, state.images_per_second, state.loss_scale,
                      state.skipped, format_duration(state.seconds_left));
  return text;
}

std::string short_figures(const ProgressState& state) {
  return fmt::format("{}/{} loss {:.4f} acc {:.1f}% {:.0f} img/s S {:g} skip {} left {}", state.step, state.total_steps,
                     state.loss, 100 * state.accuracy, state.images_per_second, state.loss_scale, state.skipped,
                     format_duration(state.seconds_left));
}

}  // namespace

std::string plain_line(const ProgressState& state) { return figures(state); }

std::string bar_line(const ProgressState& state, int columns) {
  const double share = state.total_steps > 0 ? static_cast<double>(state.step) / static_cast<double>(state.total_steps) : 0;
  const int filled = std::clamp(static_cast<int>(share * kBarColumns), 0, kBarColumns);
  std::string bar(static_cast<std::size_t>(filled), '=');
  if (filled < kBarColumns) bar += '>';
  bar.resize(kBarColumns, ' ');
  const auto width = static_cast<std::size_t>(std::max(columns, 0));
  for (const std::string& text : {figures(state), short_figures(state)}) {
    const std::string line = fmt::format("[{}] {}", bar, text);
    if (line.size() <= width) return line;
  }
  return short_figures(state).substr(0, width);
}

Progress::Progress(std::FILE* stream, ProgressStyle style) : stream_(stream), style_(style) {}

Progress::~Progress() { finish(); }

void Progress::step(const ProgressState& state, bool logged) {
  if (style_ == ProgressStyle::plain && logged) {
    std::fprintf(stream_, "%s\n", plain_line(state).c_str());
    std::fflush(stream_);
  }
  if (style_ != ProgressStyle::bar) return;
  const auto now = std::chrono::steady_clock::now();
  if (open_ && now - drawn_ < kRedraw && state.step < state.total_steps) return;
  // One column stays free: a full line would make some terminals wrap.
  std::fprintf(stream_, "\r%s\x1b[K", bar_line(state, terminal_columns(stream_) - 1).c_str());
  std::fflush(stream_);
  drawn_ = now;
  open_ = true;
}

void Progress::message(const std::string& text) {
  if (style_ == ProgressStyle::none) return;
  clear();
  std::fprintf(stream_, "%s\n", text.c_str());
  std::fflush(stream_);
}

void Progress::clear() {
  if (!open_) return;
  std::fprintf(stream_, "\r\x1b[K");
  open_ = false;
}

void Progress::finish() {
  if (!open_) return;
  std::fprintf(stream_, "\n");
  std::fflush(stream_);
  open_ = false;
}

void RateMeter::add(double seconds) {
  constexpr double kMemorySeconds = 5;  // long enough to be calm, short enough to follow a change of pace
  if (!(seconds > 0)) return;
  elapsed_seconds_ += seconds;
  // The mean over all steps at first, a fading one later.
  rate_ += std::min(1.0, seconds / std::min(elapsed_seconds_, kMemorySeconds)) * (1 / seconds - rate_);
}

double RateMeter::seconds_left(std::int64_t steps) const {
  return rate_ > 0 ? static_cast<double>(steps) / rate_ : std::numeric_limits<double>::infinity();
}

}  // namespace minim::command
