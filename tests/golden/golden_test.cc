// Every recorded case of the four small models, and every operator table, at all levels: on the
// reference path and on the fastest one, with one and two threads. The limits are those of the
// recorded data.
#include <gtest/gtest.h>

#include <optional>
#include <ostream>
#include <string>
#include <tuple>

#include "model/weights.h"
#include "verify/verify.h"

namespace fathom {
namespace {

const std::string kGolden = FATHOM_SOURCE_DIR "/testdata/golden";

#ifdef FATHOM_SANITIZED
constexpr bool kIsSlowBuild = true;
#else
constexpr bool kIsSlowBuild = false;
#endif

struct Way {
  const char* name;
  std::optional<kernels::Path> path;  // else the best one
  int threads;
  int64_t chunk;
};
void PrintTo(const Way& way, std::ostream* out) { *out << way.name; }
constexpr Way kReferencePath = {"Reference", kernels::Path::kReference, 2, 512};
constexpr Way kTileReferencePath = {"TileReference", kernels::Path::kTileReference, 2, 512};
constexpr Way kFastOne = {"FastOneThread", {}, 1, 512};
constexpr Way kFastTwo = {"FastTwoThreads", {}, 2, 100};

verify::Options OptionsOf(const Way& way) {
  return {.path = way.path.value_or(kernels::BestPath()),
          .threads = way.threads,
          .chunk = way.chunk,
          .only = ""};
}

void ExpectAllPass(const Result<verify::Report>& report, int64_t cases_min) {
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_GE(std::ssize(report.value().cases), cases_min);
  for (const verify::CaseReport& result : report.value().cases)
    EXPECT_TRUE(result.passes()) << verify::FormatLine(result);
}

class GoldenModel : public testing::TestWithParam<std::tuple<const char*, Way>> {};

TEST_P(GoldenModel, EveryCasePasses) {
  const auto& [name, way] = GetParam();
  if (kIsSlowBuild && (way.path.has_value() || way.threads == 1))
    GTEST_SKIP() << "under a sanitizer one way to run must do: ten times slower";
  const std::string dir = kGolden + "/" + name;
  const auto loaded = model::LoadedModel::Load(dir);
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  const auto report = verify::VerifyModel(loaded.value(), dir + "/cases.json", OptionsOf(way),
                                          [](const verify::CaseReport&) {});
  ExpectAllPass(report, 14);
  // What the files allow has been run.
  for (const verify::CaseReport& result : report.value().cases) {
    if (result.kind == "trace") {
      EXPECT_TRUE(result.has_level(2)) << result.name;
    } else {
      EXPECT_TRUE(result.has_level(3)) << result.name;
      EXPECT_EQ(result.has_level(1), result.kind != "greedy") << result.name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Models, GoldenModel,
    testing::Combine(testing::Values("bf16-tiny", "fp8-fp4-tiny", "longctx-tiny", "flash-shape"),
                     testing::Values(kReferencePath, kTileReferencePath, kFastOne, kFastTwo)),
    [](const auto& test) {
      std::string name = std::get<0>(test.param);
      for (char& c : name)
        if (c == '-') c = '_';
      return name + "_" + std::get<1>(test.param).name;
    });

class GoldenOps : public testing::TestWithParam<Way> {};

TEST_P(GoldenOps, EveryTablePasses) {
  const auto report = verify::VerifyOps(kGolden + "/ops/ops.json", OptionsOf(GetParam()),
                                        [](const verify::CaseReport&) {});
  ExpectAllPass(report, 31);
}

INSTANTIATE_TEST_SUITE_P(Ops, GoldenOps,
                         testing::Values(kReferencePath, kTileReferencePath, kFastOne, kFastTwo),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace fathom
