// A function marked so is compiled twice where the compiler can choose at load time: once for
// machines with a fused multiply-add instruction, once for those where std::fma is a library call.
// Same bits, but the reference path is a hundred times slower on calls.
#pragma once

// ThreadSanitizer crashes on functions that are chosen at load time.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FATHOM_THREAD_SANITIZER
#endif
#elif defined(__SANITIZE_THREAD__)
#define FATHOM_THREAD_SANITIZER
#endif

#if defined(__x86_64__) && defined(__GNUC__) && !defined(FATHOM_THREAD_SANITIZER)
#define FATHOM_FMA_CLONES __attribute__((target_clones("fma", "default")))
#else
#define FATHOM_FMA_CLONES
#endif
