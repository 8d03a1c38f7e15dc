#include "cli/default_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/folder_testing.h"

namespace fathom::cli {
namespace {

namespace fs = std::filesystem;

class DefaultModelTest : public testing::Test {
 protected:
  std::string MakeModel(const std::string& dir) {
    fs::create_directories(root_ / dir);
    std::ofstream(root_ / dir / "config.json") << "{}";
    return (root_ / dir).string();
  }
  std::string Executable(const std::string& path) const { return (root_ / path).string(); }

  const TempFolder folder_;
  const fs::path root_ = folder_.path();
};

TEST_F(DefaultModelTest, TheEnvironmentGoesFirst) {
  MakeModel("repo/models/nano");
  const std::string other = MakeModel("other");
  const std::string executable = Executable("repo/build/release/fathom");
  EXPECT_EQ(FindModelDir(executable, other.c_str()).value(), other);
  const auto missing = FindModelDir(executable, "/nonexistent");
  ASSERT_FALSE(missing.ok());
  EXPECT_THAT(missing.error().message, testing::HasSubstr("FATHOM_MODEL=/nonexistent"));
}

TEST_F(DefaultModelTest, ThenTheFoldersAboveTheExecutable) {
  const std::string model = MakeModel("repo/models/nano");
  EXPECT_EQ(FindModelDir(Executable("repo/build/release/fathom"), nullptr).value(), model);
  EXPECT_EQ(FindModelDir(Executable("repo/fathom"), "").value(), model);
}

TEST_F(DefaultModelTest, ThenThePrefix) {
  const std::string model = MakeModel("usr/share/fathom/models/nano");
  EXPECT_EQ(FindModelDir(Executable("usr/bin/fathom"), nullptr).value(), model);
}

TEST_F(DefaultModelTest, SaysWhereItLooked) {
  const auto missing = FindModelDir(Executable("usr/bin/fathom"), nullptr);
  ASSERT_FALSE(missing.ok());
  EXPECT_THAT(missing.error().message, testing::HasSubstr("usr/share/fathom/models/nano"));
  EXPECT_THAT(missing.error().message, testing::HasSubstr("-m"));
}

}  // namespace
}  // namespace fathom::cli
