// Counts every allocation of the program: once warm, a decode step and the choice of its token make
// none, on no thread.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "engine/session.h"
#include "kernels/trace.h"

namespace {

std::atomic<int64_t> allocations = 0;

void* Allocate(std::size_t bytes, std::size_t alignment) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void* data = std::aligned_alloc(alignment, rounded == 0 ? alignment : rounded);
  if (data == nullptr) throw std::bad_alloc();
  return data;
}

}  // namespace

// g++ sees the pair of std::free with an inlined operator new and takes it for a mistake.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
#endif

void* operator new(std::size_t bytes) { return Allocate(bytes, alignof(std::max_align_t)); }
void* operator new[](std::size_t bytes) { return Allocate(bytes, alignof(std::max_align_t)); }
// std::stable_sort asks in this way.
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  return Allocate(bytes, alignof(std::max_align_t));
}
void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept {
  return Allocate(bytes, alignof(std::max_align_t));
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return Allocate(bytes, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t bytes, std::align_val_t alignment) {
  return Allocate(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* data) noexcept { std::free(data); }
void operator delete[](void* data) noexcept { std::free(data); }
void operator delete(void* data, std::size_t) noexcept { std::free(data); }
void operator delete[](void* data, std::size_t) noexcept { std::free(data); }
void operator delete(void* data, std::align_val_t) noexcept { std::free(data); }
void operator delete[](void* data, std::align_val_t) noexcept { std::free(data); }
void operator delete(void* data, std::size_t, std::align_val_t) noexcept { std::free(data); }
void operator delete[](void* data, std::size_t, std::align_val_t) noexcept { std::free(data); }

namespace fathom {
namespace {

TEST(AllocationTest, TheCounterCounts) {
  const int64_t before = allocations;
  auto* leaked_to_the_optimiser = new std::vector<int>(10);
  EXPECT_GE(allocations - before, 2);
  delete leaked_to_the_optimiser;
}

class DecodeTest : public testing::TestWithParam<kernels::Path> {};

// The reference path, slow on purpose, is left out: it decodes weights into vectors as it goes.
// 300 steps cross many blocks of both compressed kinds (4 and 128 tokens) and the index's limit
// (32 rows of 4 tokens). The first half warms up.
TEST_P(DecodeTest, AWarmStepAllocatesNothing) {
  kernels::Trace trace;  // more branches than without one, and no allocation either
  trace.Record(10'000);
  auto opened = engine::Session::Open(FATHOM_SOURCE_DIR "/models/nano",
                                      {.threads = 2, .path = GetParam(), .trace = &trace});
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  engine::Session& session = *opened.value();
  sampling::Params params;
  params.top_k = 40, params.top_p = 0.9, params.min_p = 0.01;
  params.repetition_penalty = 1.1f, params.presence_penalty = 0.5f;
  params.logit_bias = {{1, -100.0f}};
  params.logprobs = 5;
  sampling::Sampler sampler(params, session.config().vocab_size);
  const std::vector<TokenId> prompt = {0, 953, 600, 954, 957};
  sampler.Begin(prompt);
  ASSERT_TRUE(session.Prefill(prompt).ok());
  int64_t before = 0;
  for (int step = 0; step < 300; ++step) {
    if (step == 150) before = allocations;
    const auto sampled = sampler.Sample(session.logits(), std::ssize(session.tokens()));
    sampler.Accept(sampled.token);
    session.Step(sampled.token);
  }
  EXPECT_EQ(allocations - before, 0);
  EXPECT_EQ(std::ssize(trace.events()), 10'000);
  EXPECT_GT(trace.dropped_events(), 0);
}

std::vector<kernels::Path> VectorPaths() {
  std::vector<kernels::Path> paths;
  for (const auto path : kernels::kAllPaths)
    if (path != kernels::ReferenceOf(path) && kernels::IsAvailable(path)) paths.push_back(path);
  return paths;
}

INSTANTIATE_TEST_SUITE_P(Paths, DecodeTest, testing::ValuesIn(VectorPaths()),
                         [](const auto& path) { return std::string(kernels::Name(path.param)); });

}  // namespace
}  // namespace fathom
