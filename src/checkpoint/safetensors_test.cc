#include "checkpoint/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "base/folder_testing.h"

namespace fathom::checkpoint {
namespace {

using tensor::DType;

std::vector<std::byte> Bytes(std::string_view text) {
  std::vector<std::byte> bytes(text.size());
  if (!text.empty()) std::memcpy(bytes.data(), text.data(), text.size());
  return bytes;
}

std::string Length(uint64_t header_bytes) {
  std::string out;
  for (int i = 0; i < 8; ++i) out += static_cast<char>(header_bytes >> 8 * i & 0xFF);
  return out;
}

// A file of that header and `data_bytes` bytes 0, 1, 2, ...
std::vector<std::byte> File(std::string_view header, size_t data_bytes) {
  std::string text = Length(header.size()) + std::string(header);
  for (size_t i = 0; i < data_bytes; ++i) text += static_cast<char>(i);
  return Bytes(text);
}

bool IsEmptyFolder(const std::string& path) {
  return std::filesystem::directory_iterator(path) == std::filesystem::directory_iterator();
}

TEST(Safetensors, ReadsTensorsWhereTheOffsetsSay) {
  const auto file = File(R"({"b":{"dtype":"I8","shape":[2,3],"data_offsets":[10,16]},
    "__metadata__":{"format":"pt"},
    "a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},
    "z":{"shape":[7,0],"data_offsets":[16,16],"dtype":"F8_E8M0"}}    )",
                         16);
  const auto content = ParseSafetensors(file);
  ASSERT_TRUE(content.ok()) << content.error().message;
  const TensorMap& tensors = content.value().tensors;
  ASSERT_EQ(tensors.size(), 3u);
  EXPECT_EQ(tensors.at("b").dtype, DType::kI8);
  EXPECT_EQ(tensors.at("b").shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(tensors.at("b").bytes.data(), file.data() + file.size() - 6);
  EXPECT_EQ(tensors.at("b").bytes.size(), 6u);
  EXPECT_EQ(tensors.at("a").elements(), 1);
  EXPECT_EQ(tensors.at("z").elements(), 0);
  EXPECT_EQ(content.value().metadata.at("format"), "pt");
}

TEST(Safetensors, ReadsAFileWithoutTensors) {
  const auto content = ParseSafetensors(File("{}", 0));
  ASSERT_TRUE(content.ok());
  EXPECT_TRUE(content.value().tensors.empty());
}

struct Hostile {
  const char* header;
  const char* reason;  // part of the message
};

// Each header stands before 8 bytes of data.
constexpr Hostile kHostile[] = {
    {"", "not valid JSON"},
    {"{", "not valid JSON"},
    {"nonsense", "not valid JSON"},
    {"{}{}", "not valid JSON"},
    {"[]", "expected an object, found array"},
    {"3", "expected an object, found number"},
    {R"({"a":7})", "a: expected an object, found number"},
    {R"({"a":{}})", "a: missing \"dtype\""},
    {R"({"a":{"dtype":3}})", "a: dtype: expected a string, found number"},
    {R"({"a":{"dtype":"F4","shape":[1],"data_offsets":[0,1]}})", "a: unknown dtype \"F4\""},
    {R"({"a":{"dtype":"I8","data_offsets":[0,1]}})", "a: missing \"shape\""},
    {R"({"a":{"dtype":"I8","shape":3,"data_offsets":[0,3]}})", "shape: expected an array"},
    {R"({"a":{"dtype":"I8","shape":[-1],"data_offsets":[0,1]}})",
     "shape: expected non-negative 64-bit integers, found -1"},
    {R"({"a":{"dtype":"I8","shape":[1.5],"data_offsets":[0,1]}})", "found 1.5"},
    {R"({"a":{"dtype":"I8","shape":[1e0],"data_offsets":[0,1]}})", "found 1e0"},
    {R"({"a":{"dtype":"I8","shape":[NaN],"data_offsets":[0,1]}})", "not valid JSON"},
    {R"({"a":{"dtype":"I8","shape":["4"],"data_offsets":[0,4]}})", "found string"},
    {R"({"a":{"dtype":"I8","shape":[[4]],"data_offsets":[0,4]}})", "found array"},
    {R"({"a":{"dtype":"I8","shape":[9223372036854775808],"data_offsets":[0,1]}})",
     "found 9223372036854775808"},
    {R"({"a":{"dtype":"I8","shape":[99999999999999999999999],"data_offsets":[0,1]}})",
     "shape: expected non-negative 64-bit integers"},
    {R"({"a":{"dtype":"F32","shape":[9223372036854775807],"data_offsets":[0,4]}})",
     "shape [9223372036854775807] is too large"},
    {R"({"a":{"dtype":"I8","shape":[4294967296,4294967296],"data_offsets":[0,0]}})",
     "is too large"},
    {R"({"a":{"dtype":"I8","shape":[4294967296,4294967296,0],"data_offsets":[0,0]}})",
     "is too large"},
    {R"({"a":{"dtype":"I8","shape":[0,4294967296,4294967296],"data_offsets":[0,0]}})",
     "is too large"},
    {R"({"a":{"dtype":"I8","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]}})",
     "shape: expected at most 8 entries, found 9"},
    {R"({"a":{"dtype":"I8","shape":[1]}})", "missing \"data_offsets\""},
    {R"({"a":{"dtype":"I8","shape":[1],"data_offsets":[1]}})", "expected begin and end, found 1"},
    {R"({"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1,2]}})", "expected at most 2 entries"},
    {R"({"a":{"dtype":"I8","shape":[1],"data_offsets":{"begin":0}}})", "expected an array"},
    {R"({"a":{"dtype":"I8","shape":[1],"data_offsets":[-1,0]}})", "found -1"},
    {R"({"a":{"dtype":"I8","shape":[1],"data_offsets":[4,3]}})", "begin 4 is after end 3"},
    {R"({"a":{"dtype":"I8","shape":[1],"data_offsets":[8,9]}})",
     "end 9 is past the 8 bytes of data"},
    {R"({"a":{"dtype":"I8","shape":[1],"data_offsets":[9223372036854775806,9223372036854775807]}})",
     "is past the 8 bytes of data"},
    {R"({"a":{"dtype":"I8","shape":[0],"data_offsets":[9,9]}})", "is past the 8 bytes of data"},
    {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,3]}})",
     "F32 [1] has 4 bytes, but data_offsets give it 3"},
    {R"({"a":{"dtype":"BF16","shape":[2,2],"data_offsets":[0,4]}})", "has 8 bytes"},
    {R"({"a":{"dtype":"I8","shape":[0],"data_offsets":[0,1]}})", "has 0 bytes"},
    {R"({"a":{"dtype":"I8","shape":[4],"data_offsets":[0,4]},
         "b":{"dtype":"I8","shape":[4],"data_offsets":[3,7]}})",
     "b overlaps a"},
    {R"({"b":{"dtype":"I8","shape":[4],"data_offsets":[0,4]},
         "a":{"dtype":"I8","shape":[4],"data_offsets":[0,4]}})",
     "overlaps"},
    {R"({"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]},
         "a":{"dtype":"I8","shape":[1],"data_offsets":[1,2]}})",
     "repeated name"},
    {R"({"a":{"dtype":"I8","dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "repeated name"},
    {R"({"__metadata__":3})", "__metadata__: expected an object"},
    {R"({"__metadata__":{"a":3}})", "__metadata__: a: expected a string"},
    {"{\"a\xff\":{}}", "not valid JSON"},
};

TEST(Safetensors, RefusesHostileHeadersInOneLine) {
  for (const Hostile& hostile : kHostile) {
    const auto content = ParseSafetensors(File(hostile.header, 8));
    ASSERT_FALSE(content.ok()) << hostile.header;
    const std::string& message = content.error().message;
    EXPECT_NE(message.find(hostile.reason), message.npos) << hostile.header << "\n" << message;
    EXPECT_EQ(message.find('\n'), message.npos) << message;
    EXPECT_LT(message.size(), 400u) << message;
  }
}

TEST(Safetensors, RefusesHeaderLengthsThatLie) {
  const std::string header = "{}";
  for (const uint64_t length :
       {uint64_t{3}, uint64_t{1} << 31, uint64_t{1} << 63, ~uint64_t{0}, ~uint64_t{0} - 7}) {
    const auto content = ParseSafetensors(Bytes(Length(length) + header));
    ASSERT_FALSE(content.ok()) << length;
    EXPECT_NE(content.error().message.find("runs past the end of the file"), std::string::npos);
  }
  EXPECT_FALSE(ParseSafetensors(Bytes(Length(0) + header)).ok());
  EXPECT_FALSE(ParseSafetensors({}).ok());
  EXPECT_FALSE(ParseSafetensors(Bytes("{}")).ok());
}

TEST(Safetensors, RefusesOversizedHeaders) {
  const auto file = File(std::string(kHeaderBytesMax + 1, ' '), 0);
  const auto content = ParseSafetensors(file);
  ASSERT_FALSE(content.ok());
  EXPECT_NE(content.error().message.find("expected a header of at most"), std::string::npos);
}

TEST(Safetensors, ForeignNamesStayShortAndOnOneLine) {
  const auto content =
      ParseSafetensors(File("{\"a\\n\\u001b" + std::string(100'000, 'x') + "\":{}}", 0));
  ASSERT_FALSE(content.ok());
  EXPECT_TRUE(content.error().message.starts_with("a\\n\\u001bxxx")) << content.error().message;
  EXPECT_LT(content.error().message.size(), 200u);
  EXPECT_EQ(Quoted(std::string(119, 'x') + "é"), std::string(119, 'x') + "...");
}

TEST(Safetensors, EveryTruncationIsRefused) {
  const auto file = File(R"({"a":{"dtype":"I8","shape":[5],"data_offsets":[0,5]}})", 5);
  ASSERT_TRUE(ParseSafetensors(file).ok());
  for (size_t n = 0; n < file.size(); ++n) {
    // A copy of exactly n bytes, so that the sanitizer sees a read past it.
    const std::vector<std::byte> cut(file.begin(), file.begin() + static_cast<int64_t>(n));
    EXPECT_FALSE(ParseSafetensors(cut).ok()) << n;
  }
}

TEST(Safetensors, ErrorsNameTheFile) {
  const TempFolder folder;
  const std::string path = folder / "broken.safetensors";
  ASSERT_TRUE(WriteFile(path, "12345").ok());
  const auto broken = SafetensorsFile::Open(path);
  ASSERT_FALSE(broken.ok());
  EXPECT_EQ(broken.error().message,
            path + ": expected an 8-byte header length, found a file of 5 bytes");
  const auto absent = SafetensorsFile::Open(path + "x");
  ASSERT_FALSE(absent.ok());
  EXPECT_NE(absent.error().message.find(path + "x: cannot open"), std::string::npos);
}

TEST(SafetensorsWriter, RoundTripsInPieces) {
  const TempFolder temp;
  const std::string& folder = temp.path();
  const std::string path = folder + "/x.safetensors";
  const std::vector<TensorDecl> decls = {{"w\"1", DType::kF8E4M3, {3, 5}},
                                         {"empty", DType::kF32, {0, 4}},
                                         {"scalar", DType::kI64, {}},
                                         {"last", DType::kBF16, {1}}};
  std::vector<std::byte> data(15 + 8 + 2);
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(100 + i);
  {
    auto writer = SafetensorsWriter::Create(path, decls, {{"format", "pt"}});
    ASSERT_TRUE(writer.ok()) << writer.error().message;
    const std::span<const std::byte> all(data);
    ASSERT_TRUE(writer.value().Append(all.first(1)).ok());
    ASSERT_TRUE(writer.value().Append({}).ok());
    ASSERT_TRUE(writer.value().Append(all.subspan(1)).ok());
    EXPECT_FALSE(FileExists(path));
    ASSERT_TRUE(writer.value().Finish().ok());
  }
  const auto file = SafetensorsFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(file.value().metadata().at("format"), "pt");
  ASSERT_EQ(file.value().tensors().size(), decls.size());
  size_t offset = 0;
  for (const TensorDecl& decl : decls) {
    const tensor::RawView& view = file.value().tensors().at(decl.name);
    EXPECT_EQ(view.dtype, decl.dtype);
    EXPECT_EQ(view.shape, decl.shape);
    ASSERT_EQ(std::ssize(view.bytes), TensorBytes(decl));
    EXPECT_TRUE(std::equal(view.bytes.begin(), view.bytes.end(), data.begin() + offset));
    offset += view.bytes.size();
  }
  const int64_t data_begin = file.value().file_bytes() - std::ssize(data);
  EXPECT_EQ(data_begin % 8, 0);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 1);
}

TEST(SafetensorsWriter, LeavesNothingBehindUnlessFinished) {
  const TempFolder temp;
  const std::string& folder = temp.path();
  const std::string path = folder + "/x.safetensors";
  {
    auto writer = SafetensorsWriter::Create(path, {{"a", DType::kI8, {2}}});
    ASSERT_TRUE(writer.ok());
    SafetensorsWriter moved = std::move(writer).value();
    const std::byte one{};
    ASSERT_TRUE(moved.Append({&one, 1}).ok());
  }
  EXPECT_TRUE(IsEmptyFolder(folder));
}

TEST(SafetensorsWriter, ReportsTheDisk) {
  const TempFolder temp;
  const std::string& folder = temp.path();
  EXPECT_FALSE(SafetensorsWriter::Create(folder + "/no/x.safetensors", {}).ok());
  // A folder stands where the file should go.
  std::filesystem::create_directory(folder + "/x.safetensors");
  auto writer = SafetensorsWriter::Create(folder + "/x.safetensors", {});
  ASSERT_TRUE(writer.ok());
  const auto finished = writer.value().Finish();
  ASSERT_FALSE(finished.ok());
  EXPECT_NE(finished.error().message.find("cannot rename into place"), std::string::npos);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 1);
}

using SafetensorsWriterDeathTest = testing::Test;

TEST(SafetensorsWriterDeathTest, ChecksItsCaller) {
  const TempFolder folder;
  const std::string path = folder / "x.safetensors";
  auto writer = SafetensorsWriter::Create(path, {{"a", DType::kI8, {2}}});
  ASSERT_TRUE(writer.ok());
  const std::byte three[3] = {};
  EXPECT_DEATH((void)writer.value().Append(three), "bytes_left");
  EXPECT_DEATH((void)writer.value().Finish(), "bytes_left");
  EXPECT_DEATH(
      (void)SafetensorsWriter::Create(path, {{"a", DType::kI8, {}}, {"a", DType::kI8, {}}}), "a");
}

}  // namespace
}  // namespace fathom::checkpoint
