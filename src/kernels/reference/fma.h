// A function marked so is compiled twice where the compiler can choose at load time: once for
// machines with a fused multiply-add instruction, once for those where std::fma is a library call.
// Same bits, but the reference path is a hundred times slower on calls.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define FATHOM_FMA_CLONES __attribute__((target_clones("fma", "default")))
#else
#define FATHOM_FMA_CLONES
#endif
