// The bench as a whole on the bundled model, and its report.
#include "measure/bench.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "measure/projection.h"
#include "measure/report.h"

namespace fathom::measure {
namespace {

using testing::HasSubstr;

const model::LoadedModel& Nano() {
  static const model::LoadedModel loaded =
      model::LoadedModel::Load(FATHOM_SOURCE_DIR "/models/nano").value();
  return loaded;
}

BenchOptions Small() {
  BenchOptions options;
  options.contexts = {1, 200};
  options.batches = {1, 3};
  options.prompt_tokens = 40;
  options.chunk_tokens = 16;
  options.steps = 4;
  options.memory_bytes = 64 << 20;
  options.threads = 2;
  return options;
}

double NumberAt(const Json& json, std::string_view name) {
  const Json* member = json.Find(name);
  EXPECT_NE(member, nullptr) << name;
  if (member == nullptr || !member->is_number()) return -1;
  return member->ToDouble().value();
}

TEST(Bench, MeasuresEveryLengthAndBatch) {
  const auto report = RunBench(Nano(), Small());
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_TRUE(report.value().is_complete);
  EXPECT_EQ(report.value().threads, 2);
  ASSERT_EQ(report.value().decode.size(), 4u);
  for (const DecodePoint& point : report.value().decode) {
    EXPECT_GT(point.steps, 0);
    EXPECT_GT(point.tokens_s, 0);
    EXPECT_NEAR(point.tokens_s * point.step_seconds, static_cast<double>(point.batch), 1e-6);
    EXPECT_GT(point.reading.fraction, 0);
    EXPECT_GT(point.ceiling_tokens_s, 0);
    EXPECT_EQ(point.cost.passes, point.steps);
    if (point.batch == 1) {
      EXPECT_DOUBLE_EQ(point.expert_overlap, 1);
    }
    EXPECT_LE(point.expert_overlap, 1);
  }
  EXPECT_EQ(report.value().decode[2].context, 200);
  EXPECT_EQ(report.value().decode[3].batch, 3);
  ASSERT_EQ(report.value().prefill.size(), 1u);
  const PrefillPoint& prompt = report.value().prefill[0];
  ASSERT_EQ(prompt.chunks.size(), 3u);  // 16, 16, 8
  EXPECT_EQ(prompt.chunks[2].position, 32);
  EXPECT_EQ(prompt.chunks[2].tokens, 8);
  EXPECT_EQ(prompt.tokens % 40, 0);
  EXPECT_GT(prompt.computing.fraction, 0);
}

TEST(Bench, TheReportHasTheKeysThatToolsRead) {
  const auto report = RunBench(Nano(), Small());
  ASSERT_TRUE(report.ok()) << report.error().message;
  const auto parsed = ParseJson(WriteJson(ToJson(report.value(), Nano().config())));
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  const Json& json = parsed.value();
  EXPECT_GT(NumberAt(*json.Find("machine"), "read_gb_s"), 0);
  EXPECT_GT(NumberAt(*json.Find("machine"), "peak_bf16_gflops"), 0);
  EXPECT_EQ(NumberAt(json, "threads"), 2);
  for (const Json& point : json.Find("decode")->array()) {
    for (const char* key : {"tok_s", "gb_s", "fraction_of_bandwidth", "context", "batch", "threads",
                            "ceiling_tok_s", "fraction_of_ceiling", "expert_overlap"})
      EXPECT_GT(NumberAt(point, key), 0) << key;
    EXPECT_GT(NumberAt(*point.Find("layers"), "fraction_of_bandwidth"), 0);
    double share = 0;
    for (const Json& operation : point.Find("operations")->array())
      share += NumberAt(operation, "share");
    EXPECT_NEAR(share, 1, 1e-9);
  }
  for (const Json& point : json.Find("prefill")->array())
    for (const char* key :
         {"tok_s", "gflops", "fraction_of_peak", "context", "batch", "threads", "chunk"})
      EXPECT_GT(NumberAt(point, key), 0) << key;
  EXPECT_EQ(json.Find("projection")->array().size(), 0u);  // nano is no slice of a larger model
  const std::string table = FormatReport(report.value(), Nano().config());
  EXPECT_THAT(table, HasSubstr("decode, context 200, batch 3"));
  EXPECT_THAT(table, HasSubstr("prompt of 40 tokens in chunks of 16"));
  EXPECT_THAT(table, HasSubstr("routed experts"));
  EXPECT_THAT(table, testing::Not(HasSubstr("nan")));
}

TEST(Bench, TellsHowFarAModeIsFromOfficial) {
  BenchOptions options = Small();
  options.contexts = {20};
  options.batches = {1};
  options.seconds = 3;  // sanitizers do not come to 512 tokens in it
  const auto official = RunBench(Nano(), options);
  ASSERT_TRUE(official.ok());
  EXPECT_FALSE(official.value().divergence.has_value());
  options.mode = numerics::Mode::kFast;
  const auto report = RunBench(Nano(), options);
  ASSERT_TRUE(report.ok());
  ASSERT_TRUE(report.value().divergence.has_value());
  const Divergence& divergence = *report.value().divergence;
  EXPECT_GT(divergence.tokens, 0);
  EXPECT_LE(divergence.tokens, 512);
  EXPECT_GT(divergence.mean_kl, 0);
  EXPECT_LT(divergence.mean_kl, 0.1);
  EXPECT_GE(divergence.max_kl, divergence.mean_kl);
  EXPECT_GT(divergence.same_top, 0.8);
  EXPECT_LE(divergence.same_top, 1);
  const auto json = ParseJson(WriteJson(ToJson(report.value(), Nano().config())));
  ASSERT_TRUE(json.ok());
  EXPECT_EQ(NumberAt(*json.value().Find("divergence"), "mean_kl"), divergence.mean_kl);
  EXPECT_THAT(FormatReport(report.value(), Nano().config()),
              HasSubstr("divergence from official numerics, over "));
}

// A mode against itself, which RunBench does not do.
TEST(Bench, OfficialModeDoesNotDivergeFromItself) {
  ThreadPool pool(1);
  kernels::Workspace workspace;
  const Divergence divergence = MeasureDivergence(
      Nano(), {pool, workspace, kernels::BestPath(), numerics::Mode::kOfficial}, {.tokens = 20});
  EXPECT_EQ(divergence.tokens, 20);
  EXPECT_EQ(divergence.max_kl, 0);
  EXPECT_EQ(divergence.same_top, 1);
}

TEST(Bench, EndsEarlyWithWhatItHas) {
  BenchOptions options = Small();
  std::atomic<bool> cancel = false;
  options.cancel = &cancel;
  options.steps = 100;
  options.progress = [&](std::string_view what) {
    if (what.find("context") == 0 && what.find("step") != std::string_view::npos) cancel = true;
  };
  const auto report = RunBench(Nano(), options);
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_FALSE(report.value().is_complete);
  ASSERT_EQ(report.value().decode.size(), 1u);
  EXPECT_GT(report.value().decode[0].steps, 0);
  EXPECT_TRUE(report.value().prefill.empty());
  EXPECT_THAT(FormatReport(report.value(), Nano().config()), HasSubstr("interrupted"));
  cancel = true;
  options.progress = {};
  const auto none = RunBench(Nano(), options);
  ASSERT_TRUE(none.ok());
  EXPECT_TRUE(none.value().decode.empty());
}

TEST(Bench, RefusesWhatTheModelCannotDo) {
  const auto refused = [](auto change) {
    BenchOptions options = Small();
    change(options);
    const auto report = RunBench(Nano(), options);
    return report.ok() ? std::string("accepted") : report.error().message;
  };
  const int64_t longest = Nano().config().max_position_embeddings;
  EXPECT_THAT(refused([&](auto& o) { o.contexts = {longest + 1}; }), HasSubstr("context"));
  EXPECT_THAT(refused([&](auto& o) { o.prompt_tokens = longest + 1; }), HasSubstr("prompt"));
  EXPECT_THAT(refused([](auto& o) { o.batches = {0}; }), HasSubstr("batch"));
  EXPECT_THAT(refused([](auto& o) { o.chunk_tokens = 0; }), HasSubstr("chunk"));
  EXPECT_THAT(refused([](auto& o) { o.steps = 0; }), HasSubstr("steps"));
  EXPECT_THAT(refused([](auto& o) { o.seconds = 0; }), HasSubstr("seconds"));
}

// Made-up times, so that the sum can be done in the head.
TEST(Projection, AddsUpLayersByKindAndTheHeadOnce) {
  model::Config slice = model::FlashPreset();
  slice.num_hidden_layers = 4;  // two window layers, one CSA, one HCA
  slice.vocab_size = 12928;     // a tenth
  slice.n_routed_experts = 8;
  const auto full = FullModelOf(slice);
  ASSERT_TRUE(full.has_value());
  EXPECT_EQ(full->name, "DeepSeek-V4-Flash");
  DecodePoint point;
  point.context = 4096;
  point.batch = 1;
  point.cost.passes = 10;
  point.cost.kinds[static_cast<size_t>(model::LayerKind::kWindow)] = {20 * 0.001, {200, 0, 0}};
  point.cost.kinds[static_cast<size_t>(model::LayerKind::kCsa)] = {10 * 0.003, {300, 0, 0}};
  point.cost.kinds[static_cast<size_t>(model::LayerKind::kHca)] = {10 * 0.002, {0, 400, 0}};
  point.cost.head = {10 * 0.0005, {50, 0, 0}};
  point.cost.rest = {10 * 0.0001, {}};
  const auto projection = Project(*full, slice, point);
  ASSERT_TRUE(projection.has_value());
  ASSERT_EQ(projection->lines.size(), 5u);
  EXPECT_NEAR(projection->step_seconds, 2 * 0.001 + 21 * 0.003 + 20 * 0.002 + 0.005 + 0.0001,
              1e-12);
  EXPECT_NEAR(projection->bytes, 2 * 10 + 21 * 30 + 20 * 40 + 50, 1e-9);
  Report report;
  report.decode = {point, point};
  report.decode[1].context = 65536;
  report.decode[1].cost.kinds[1].seconds *= 2;  // 63 ms more
  const std::string table = FormatReport(report, slice);
  EXPECT_THAT(table, HasSubstr("  CSA layer               21 x    3.000 ms =    63.000 ms"));
  EXPECT_THAT(table, HasSubstr("1 x 10.0000 x    0.500 ms =     5.000 ms"));
  EXPECT_THAT(table, HasSubstr("sum 110.100 ms a token"));
  EXPECT_THAT(table, HasSubstr("1.57 x the time of a token at context 4096"));
  point.batch = 2;
  EXPECT_FALSE(Project(*full, slice, point).has_value());
  report.decode = {point};
  EXPECT_THAT(FormatReport(report, slice), HasSubstr("no sum for DeepSeek-V4-Flash"));
  point.batch = 1;
  slice.num_hidden_layers = 3;  // no HCA layer
  EXPECT_FALSE(Project(*full, slice, point).has_value());
  slice.hidden_size /= 2;
  EXPECT_FALSE(FullModelOf(slice).has_value());
  EXPECT_EQ(FullModelOf(model::ProPreset())->name, "DeepSeek-V4-Pro");
}

}  // namespace
}  // namespace fathom::measure
