#include "kernels/trace.h"

#include <gtest/gtest.h>

#include <numeric>
#include <thread>

#include "kernels/experts.h"
#include "kernels/indexer.h"
#include "kernels/kernel_testing.h"
#include "kernels/sparse_attention.h"

namespace fathom::kernels {
namespace {

using tensor::Format;
using testing::Random;
using testing::RandomFloats;
using testing::RandomWeights;
using testing::TestContext;
using testing::Values;

void Sleep() { std::this_thread::sleep_for(std::chrono::milliseconds(2)); }

TEST(Trace, OwnTimesAddUpToTheOutermostSpan) {
  Trace trace;
  trace.Reserve(2);
  trace.Record(16);
  {
    const TraceSpan pass(&trace, Operation::kPass);
    trace.SetLayer(1);
    {
      const TraceSpan layer(&trace, Operation::kLayer);
      Sleep();
      const TraceSpan product(&trace, Operation::kProductFp8, {.weight_bytes = 5});
      Sleep();
    }
    trace.SetLayer(Trace::kOutside);
    const TraceSpan head(&trace, Operation::kHead);
  }
  const auto events = trace.events();
  ASSERT_EQ(events.size(), 4u);
  EXPECT_EQ(events[0].operation, Operation::kProductFp8);
  EXPECT_EQ(events[0].layer, 1);
  EXPECT_EQ(events[1].operation, Operation::kLayer);
  EXPECT_EQ(events[2].layer, Trace::kOutside);
  EXPECT_EQ(events[3].operation, Operation::kPass);
  int64_t own_ns = 0;
  for (int64_t layer = Trace::kOutside; layer < trace.layers(); ++layer)
    for (int i = 0; i < kOperations; ++i)
      own_ns += trace.total(layer, static_cast<Operation>(i)).own_ns;
  EXPECT_EQ(own_ns, events[3].whole_ns);
  EXPECT_GE(trace.total(1, Operation::kLayer).own_ns, 2'000'000);
  EXPECT_EQ(trace.total(1, Operation::kLayer).own_ns, events[1].whole_ns - events[0].whole_ns);
  EXPECT_EQ(trace.total(1, Operation::kProductFp8).work.weight_bytes, 5);
  EXPECT_EQ(trace.total(0, Operation::kProductFp8).calls, 0);
  trace.ClearTotals();
  EXPECT_EQ(trace.total(1, Operation::kProductFp8).calls, 0);
}

TEST(Trace, EventsPastTheRoomAreCountedAndDropped) {
  Trace trace;
  for (int i = 0; i < 3; ++i) const TraceSpan span(&trace, Operation::kPass);
  EXPECT_EQ(trace.events().size(), 0u);
  EXPECT_EQ(trace.dropped_events(), 0);
  trace.Record(2);
  for (int i = 0; i < 5; ++i) const TraceSpan span(&trace, Operation::kPass);
  EXPECT_EQ(trace.events().size(), 2u);
  EXPECT_EQ(trace.dropped_events(), 3);
  EXPECT_EQ(trace.total(Trace::kOutside, Operation::kPass).calls, 8);
}

TEST(Trace, OperationsHaveDifferentNames) {
  for (int i = 0; i < kOperations; ++i)
    for (int j = 0; j < i; ++j)
      EXPECT_STRNE(Name(static_cast<Operation>(i)), Name(static_cast<Operation>(j)));
}

TEST(Trace, ProductsCountWeightsOnceAndOperationsForEveryRow) {
  Random random(1);
  for (const auto& [format, operation, bytes] :
       {std::tuple{Format::kF32, Operation::kProductF32, 160 * 256 * 4},
        {Format::kBF16, Operation::kProductBF16, 160 * 256 * 2},
        {Format::kFp8, Operation::kProductFp8, 160 * 256 + 2 * 2},
        {Format::kFp4, Operation::kProductFp4, 160 * 128 + 160 * 8}}) {
    const auto w = RandomWeights(format, 160, 256, Values::kOrdinary, random);
    auto x = RandomFloats(3 * 256, Values::kOrdinary, true, random);
    std::vector<float> y(3 * 160);
    TestContext test(2, BestPath());
    Trace trace;
    test.ctx.trace = &trace;
    Linear({x.data(), 3, 256}, w.view, Activation::kF32, Output::kF32, {y.data(), 3, 160},
           test.ctx);
    const Trace::Total& total = trace.total(Trace::kOutside, operation);
    EXPECT_EQ(total.calls, 1);
    EXPECT_EQ(total.work.weight_bytes, bytes);
    EXPECT_EQ(total.work.operations, 2 * 3 * 160 * 256);
  }
}

TEST(Trace, RoutedExpertsCountThoseThatWereChosen) {
  Random random(2);
  std::vector<testing::Weights> memory;
  std::vector<ExpertView> experts(5);
  for (ExpertView& expert : experts) {
    for (QuantView ExpertView::*w : {&ExpertView::w1, &ExpertView::w2, &ExpertView::w3}) {
      const bool is_down = w == &ExpertView::w2;
      memory.push_back(RandomWeights(Format::kFp4, is_down ? 128 : 64, is_down ? 64 : 128,
                                     Values::kOrdinary, random));
      expert.*w = memory.back().view;
    }
  }
  const auto x = RandomFloats(2 * 128, Values::kOrdinary, true, random);
  std::vector<float> y(2 * 128), weights(4, 0.5f);
  std::vector<int32_t> chosen{0, 3, 3, 4};  // three different ones
  TestContext test(2, BestPath());
  Trace trace;
  test.ctx.trace = &trace;
  RoutedExperts({x.data(), 2, 128}, {chosen.data(), 2, 2}, {weights.data(), 2, 2}, experts, 10.0f,
                {y.data(), 2, 128}, test.ctx);
  const Work& work = trace.total(Trace::kOutside, Operation::kRoutedExperts).work;
  EXPECT_EQ(work.weight_bytes, 3 * 3 * (64 * 128 / 2 + 64 * 128 / 32));
  EXPECT_EQ(work.operations, 2 * 4 * 3 * 64 * 128);
}

}  // namespace
}  // namespace fathom::kernels
