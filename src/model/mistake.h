// Inside of the room: places where a test can build a known mistake into the forward pass, to prove
// that the recorded cases notice it (tests/sensitivity). In the product every question is answered
// "no" by the compiler; only a test that compiles these sources with FATHOM_MODEL_MISTAKES can say
// yes. The mistakes are those of the `sensitivity` lists of the recorded cases.
#pragma once

#include "kernels/linear.h"

namespace fathom::model {

enum class Mistake {
  kNone,
  kNoInverseRope,         // attention output left rotated
  kCombTransposed,        // hyper-connection mixing matrix transposed
  kNoSink,                // attention sink left out of the denominator
  kSharedNotClamped,      // shared expert without the SwiGLU limit
  kNoActivationRounding,  // neither FP8 inputs nor FP8 KV rows nor FP4 index vectors
  kKvNotRounded,          // KV rows not passed through FP8
  kTopkMostRecent,        // the latest blocks instead of the best
  kOverlapSwapped,        // halves of the overlapping compressor exchanged
  kNoYarn,                // plain frequencies on compressed layers
  kNoApe,                 // position bias of the compressor left out
};

#ifdef FATHOM_MODEL_MISTAKES
Mistake& BuiltInMistake();
inline bool Has(Mistake mistake) { return BuiltInMistake() == mistake; }
#else
constexpr bool Has(Mistake) { return false; }
#endif

// How the inputs of quantised products enter.
inline kernels::Activation Quantized() {
  return Has(Mistake::kNoActivationRounding) ? kernels::Activation::kBF16
                                             : kernels::Activation::kQuantized;
}

}  // namespace fathom::model
