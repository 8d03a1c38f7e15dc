// What a trace counts, against the configuration and the checkpoint's own tensors.
#include "measure/cost.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/thread_pool.h"
#include "kernels/context.h"
#include "model/fill.h"
#include "model/forward.h"
#include "model/sizes.h"
#include "model/weights.h"

namespace fathom::measure {
namespace {

constexpr int64_t kContext = 700;

class CostTest : public testing::Test {
 protected:
  void SetUp() override {
    auto loaded = model::LoadedModel::Load(FATHOM_SOURCE_DIR "/models/nano");
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    loaded_.emplace(std::move(loaded).value());
  }
  const model::Config& config() const { return loaded_->config(); }

  // One step of `batch` sequences that hold kContext tokens when it ends.
  PassCost Step(int64_t batch) {
    ThreadPool pool(2);
    kernels::Workspace workspace;
    const kernels::Context ctx{pool, workspace, kernels::BestPath(), numerics::Mode::kOfficial,
                               &trace_};
    model::Executor executor(config(), loaded_->weights(), {.batch_tokens_max = batch}, ctx);
    std::vector<std::unique_ptr<model::Sequence>> sequences;
    std::vector<model::BatchItem> items;
    const std::vector<TokenId> tokens(static_cast<size_t>(batch), 17);
    for (int64_t i = 0; i < batch; ++i) {
      sequences.push_back(
          std::make_unique<model::Sequence>(config(), kContext, numerics::Mode::kOfficial));
      model::FillRandom(config(), kContext - 1, 5, *sequences.back());
      items.push_back({sequences.back().get(), {&tokens[static_cast<size_t>(i)], 1}});
    }
    const tensor::Buffer<float> logits(batch * config().vocab_size);
    trace_.ClearTotals();
    executor.Forward(items, logits.matrix(batch, config().vocab_size));
    return CostOf(trace_, config(), 1);
  }

  // Bytes of the matrices that a step reads once, whatever the batch, but for routed experts.
  int64_t FixedBytes() const {
    int64_t bytes = 0;
    for (const model::Slot& slot : model::Slots(config(), model::SpeculativeHead::kNone)) {
      using enum model::SlotKind;
      if (slot.kind == kVector || slot.kind == kTable || slot.name.starts_with("embed")) continue;
      if (slot.name.find(".experts.") == std::string::npos) bytes += SlotBytes(slot);
    }
    // wo_a is read group by group; scales of a block that two groups share are read for both.
    for (const model::LayerWeights& layer : loaded_->weights().layers) {
      const int64_t rank = config().o_lora_rank, groups = config().o_groups;
      const int64_t blocks_of_groups = groups * ((rank + 127) / 128);
      const int64_t blocks = (groups * rank + 127) / 128;
      bytes += (blocks_of_groups - blocks) * layer.attn.wo_a.scale_cols();
    }
    return bytes;
  }

  int64_t ExpertBytesOfALayer() const {
    int64_t bytes = 0;
    for (const model::Slot& slot : model::Slots(config(), model::SpeculativeHead::kNone))
      if (slot.name.starts_with("layers.0.ffn.experts.0.")) bytes += SlotBytes(slot);
    EXPECT_GT(bytes, 0);
    return bytes;
  }

  kernels::Trace trace_;
  std::optional<model::LoadedModel> loaded_;

 private:
  int64_t SlotBytes(const model::Slot& slot) const {
    int64_t bytes = 0;
    for (const std::string& name : {slot.name, slot.name + ".weight", slot.name + ".scale"})
      if (const tensor::RawView* view = loaded_->checkpoint().Find(name))
        bytes += std::ssize(view->bytes);
    EXPECT_GT(bytes, 0) << slot.name;
    return bytes;
  }
};

TEST_F(CostTest, AStepReadsEveryMatrixOnceAndTheExpertsItChose) {
  const int64_t embedding_row = config().hidden_size * 2;
  const PassCost one = Step(1);
  const int64_t chosen = config().num_experts_per_tok * config().num_hidden_layers;
  EXPECT_EQ(one.whole.work.weight_bytes,
            FixedBytes() + chosen * ExpertBytesOfALayer() + embedding_row);
  EXPECT_DOUBLE_EQ(one.experts_read, static_cast<double>(chosen));
  EXPECT_DOUBLE_EQ(one.experts_chosen, static_cast<double>(chosen));
  // Equal sequences choose equal experts: nothing is read twice but rows and the embedding.
  const PassCost three = Step(3);
  EXPECT_EQ(three.whole.work.weight_bytes, one.whole.work.weight_bytes + 2 * embedding_row);
  EXPECT_EQ(three.whole.work.state_bytes, 3 * one.whole.work.state_bytes);
  EXPECT_EQ(three.whole.work.operations, 3 * one.whole.work.operations);
  EXPECT_DOUBLE_EQ(three.experts_read, static_cast<double>(chosen));
  EXPECT_DOUBLE_EQ(three.experts_chosen, 3.0 * static_cast<double>(chosen));
}

TEST_F(CostTest, OperationsAreThoseOfTheConfiguration) {
  const model::Flops flops = model::FlopsPerToken(config(), model::FormatsOf(config()), kContext);
  EXPECT_EQ(static_cast<double>(Step(1).whole.work.operations), flops.Sum());
}

TEST_F(CostTest, StateIsTheWindowThePickedRowsAndEveryIndexKey) {
  const int64_t row = model::LatentLayout(config(), numerics::Mode::kOfficial).bytes();
  const int64_t index_row = model::IndexLayout(config(), numerics::Mode::kOfficial).bytes();
  int64_t expected = 0;
  for (int64_t layer = 0; layer < config().num_hidden_layers; ++layer) {
    int64_t rows = std::min(kContext, config().sliding_window);
    if (config().kind(layer) != model::LayerKind::kWindow) {
      const int64_t blocks = kContext / config().ratio(layer);
      const bool is_csa = config().kind(layer) == model::LayerKind::kCsa;
      rows += is_csa ? std::min(config().index_topk, blocks) : blocks;
      if (is_csa) expected += blocks * index_row;
    }
    expected += rows * row;
  }
  EXPECT_EQ(Step(1).whole.work.state_bytes, expected);
}

TEST_F(CostTest, PartsAddUpToTheWhole) {
  const PassCost cost = Step(2);
  double seconds = 0, kinds = 0;
  for (const OperationCost& operation : cost.operations) seconds += operation.cost.seconds;
  for (const Cost& kind : cost.kinds) kinds += kind.seconds;
  EXPECT_NEAR(seconds, cost.whole.seconds, 1e-12);
  EXPECT_NEAR(kinds, cost.layers.seconds, 1e-12);
  EXPECT_NEAR(cost.layers.seconds + cost.head.seconds + cost.rest.seconds, cost.whole.seconds,
              1e-12);
  EXPECT_EQ(cost.layers.work.bytes() + cost.head.work.bytes() + cost.rest.work.bytes(),
            cost.whole.work.bytes());
  EXPECT_GT(cost.head.seconds, 0);
  EXPECT_EQ(cost.head.work.weight_bytes,
            loaded_->weights().head.bytes() + loaded_->weights().hc_head.fn.bytes());
  PassCost twice = cost;
  twice += cost;
  EXPECT_EQ(twice.passes, 2);
  EXPECT_DOUBLE_EQ(twice.whole.seconds, 2 * cost.whole.seconds);
  EXPECT_EQ(twice.operations.size(), cost.operations.size());
  EXPECT_EQ(twice.operations[4].calls, 2 * cost.operations[4].calls);
}

TEST_F(CostTest, WhatAMeasuringProgramDoesInsideIsLeftOut) {
  { const kernels::TraceSpan span(&trace_, kernels::Operation::kMeasurement); }
  EXPECT_EQ(trace_.total(kernels::Trace::kOutside, kernels::Operation::kMeasurement).calls, 1);
  trace_.Reserve(config().num_hidden_layers);
  const PassCost cost = CostOf(trace_, config(), 1);
  EXPECT_EQ(cost.whole.seconds, 0);
  for (const OperationCost& operation : cost.operations) EXPECT_EQ(operation.calls, 0);
}

}  // namespace
}  // namespace fathom::measure
