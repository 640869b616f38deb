#include "runtime/bias_suite.h"
#include "runtime/vector_case.h"

namespace minim::bias_suite {
namespace {

MINIM_FOR_EACH_INSTRUCTION_SET(KernelBias);

}  // namespace
}  // namespace minim::bias_suite
