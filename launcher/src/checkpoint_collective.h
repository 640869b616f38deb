#pragma once

#include <string>

#include "minim/launcher/shared_error.h"

namespace minim {

/// Local work of one rank between collectives. Once something has failed, nothing more is done, but the rank goes on and takes
/// part in the collectives, until all agree on the error.
class Attempt {
 public:
  template <class F>
  void operator()(const F& work) {
    if (failed()) return;
    try {
      work();
    } catch (...) {
      error_ = RankError::current();
    }
  }
  bool failed() const { return error_.kind != RankError::Kind::none; }
  const RankError& error() const { return error_; }

 private:
  RankError error_;
};

/// Does `work` on rank 0 alone. Collective: all ranks return after it, or throw what it threw.
template <class F>
void on_root(Communicator& communicator, const F& work) {
  Attempt attempt;
  if (communicator.rank() == 0) attempt(work);
  agree_on_errors(communicator, attempt.error());
}

/// Rank `root`'s text on all ranks. Collective.
std::string broadcast_text(Communicator& communicator, std::string text, int root);

/// The text of the first rank whose text is not empty, on all ranks; empty when there is none. Collective.
std::string first_text(Communicator& communicator, std::string text);

}  // namespace minim
