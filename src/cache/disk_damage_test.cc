// The disk tier on files that are not what was written: flipped bits, cuts at every byte, foreign
// and repeated pieces. Whatever happens, what is found is right, and what was not touched is found.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <random>
#include <string>

#include "base/file.h"
#include "base/folder_testing.h"
#include "base/log.h"
#include "cache/disk_format.h"
#include "cache/disk_segment.h"
#include "cache/disk_store.h"
#include "cache/disk_testing.h"

namespace fathom::cache {
namespace {

RecordHeader SomeHeader() {
  RecordHeader header;
  header.payload_bytes = 100;
  header.payload_checksum = 1;
  header.fingerprint = 2;
  header.key_hash = 3;
  header.chain = {4, 5};
  header.parent = {6, 7};
  header.tokens = 256;
  header.written_s = 8;
  header.kind = RecordKind::kTail;
  for (size_t i = 0; i < header.ids.size(); ++i) header.ids[i] = static_cast<TokenId>(i);
  return header;
}

TEST(DiskFormatTest, HeadersReadAsTheyWereWritten) {
  const RecordHeader header = SomeHeader();
  const auto parsed = ParseHeader(EncodeHeader(header));
  ASSERT_TRUE(parsed.header.has_value()) << parsed.problem;
  EXPECT_EQ(*parsed.header, header);
}

TEST(DiskFormatTest, EveryFlippedBitOfAHeaderIsNoticed) {
  const HeaderBytes sound = EncodeHeader(SomeHeader());
  for (size_t bit = 0; bit < sound.size() * 8; ++bit) {
    HeaderBytes bytes = sound;
    bytes[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
    const auto parsed = ParseHeader(bytes);
    EXPECT_FALSE(parsed.header.has_value()) << bit;
    EXPECT_FALSE(parsed.problem.empty());
  }
}

TEST(DiskFormatTest, AnotherVersionIsNamed) {
  HeaderBytes bytes = EncodeHeader(SomeHeader());
  bytes[8] = std::byte{2};
  EXPECT_EQ(ParseHeader(bytes).problem, "format version 2, expected 1");
}

TEST(DiskFormatTest, ImpossibleValuesAreRefusedInSpiteOfTheirChecksum) {
  for (const int64_t payload_bytes : {int64_t{-1}, kPayloadBytesMax + 1, INT64_MAX}) {
    RecordHeader header = SomeHeader();
    header.payload_bytes = payload_bytes;
    EXPECT_FALSE(ParseHeader(EncodeHeader(header)).header.has_value());
  }
  for (const int64_t tokens : {-128, 0, 100}) {
    RecordHeader header = SomeHeader();
    header.tokens = tokens;
    EXPECT_FALSE(ParseHeader(EncodeHeader(header)).header.has_value());
  }
  for (const int64_t written_s : {int64_t{-1}, INT64_MIN}) {
    RecordHeader header = SomeHeader();
    header.written_s = written_s;
    EXPECT_FALSE(ParseHeader(EncodeHeader(header)).header.has_value());
  }
  RecordHeader header = SomeHeader();
  header.kind = static_cast<RecordKind>(2);
  EXPECT_FALSE(ParseHeader(EncodeHeader(header)).header.has_value());
}

TEST(DiskFormatTest, SegmentNames) {
  EXPECT_EQ(SegmentName(7), "00000007.fathom-cache");
  EXPECT_EQ(SegmentNumber("00000007.fathom-cache"), 7);
  EXPECT_EQ(SegmentNumber("123456789.fathom-cache"), 123456789);
  for (const char* name : {"7.fathom-cache", "0000000x.fathom-cache", "00000007.fathom", "lock",
                           "-0000007.fathom-cache", "99999999999999999999.fathom-cache"}) {
    EXPECT_EQ(SegmentNumber(name), std::nullopt) << name;
  }
}

// A store of four prompts, two of which begin alike, as bytes to spoil.
class DamageTest : public testing::Test {
 protected:
  struct Written {
    std::string key;
    std::vector<TokenId> tokens;
    int64_t pages;
  };

  DamageTest() {
    SetLogLevel(LogLevel::kError);
    auto fork = Prompt(1, 4);
    fork[2 * 128] += 1;
    written_ = {
        {"a", Prompt(1, 3), 3}, {"a", fork, 4}, {"b", Prompt(1, 2), 2}, {"", Prompt(5, 6), 6}};
  }
  ~DamageTest() override { SetLogLevel(LogLevel::kWarning); }

  std::unique_ptr<DiskStore> Open() {
    auto opened = DiskStore::Open(options_);
    EXPECT_TRUE(opened.ok());
    return std::move(opened).value();
  }
  void WriteAll(DiskStore& store) {
    for (const auto& [key, tokens, pages] : written_) {
      WritePages(store, key, tokens, pages, *pool_, options_.tail_bytes);
    }
    store.Flush();
  }
  std::map<std::string, std::string> ReadSegments() const {
    std::map<std::string, std::string> files;
    for (const int64_t segment : ListSegments(options_.dir).value()) {
      const std::string path = options_.dir + "/" + SegmentName(segment);
      files[path] = ReadFile(path).value();
    }
    return files;
  }
  // Looks for everything and checks what is found; the pages found in all.
  int64_t FindAll(DiskStore& store) {
    int64_t pages = 0;
    for (const auto& [key, tokens, length] : written_) {
      const Prefix found = store.Load(key, tokens, 0, *pool_);
      EXPECT_TRUE(IsRight(found, key, tokens, 0, options_.page_bytes, options_.tail_bytes));
      pages += found.tokens / model::kPageTokens;
    }
    return pages;
  }

  TempFolder folder_;
  DiskOptions options_ = SmallStore(folder_ / "cache");
  std::shared_ptr<model::PagePool> pool_ = model::PagePool::Make(192);
  std::vector<Written> written_;
};

void Spoil(std::string& bytes, std::mt19937_64& random) {
  const auto below = [&](size_t end) {
    return static_cast<size_t>(random() % std::max<size_t>(1, end));
  };
  const size_t at = below(bytes.size());
  const size_t length = std::min(bytes.size() - at, size_t{1} << below(12));
  switch (below(7)) {
    case 0:  // a bit
    case 1:
      if (!bytes.empty()) bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
      break;
    case 2:  // a stretch of noise
      for (size_t i = at; i < at + length; ++i) bytes[i] = static_cast<char>(random());
      break;
    case 3:  // of zeros, as after a crash of the system
      std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), length, '\0');
      break;
    case 4:
      bytes.resize(at);
      break;
    case 5:  // a piece is missing, or comes twice
      bytes.erase(at, length);
      break;
    default:
      bytes.insert(below(bytes.size()), bytes.substr(at, length));
  }
}

// FATHOM_CORRUPTIONS=10000 for more.
TEST_F(DamageTest, RandomDamageNeverGivesAWrongPage) {
  WriteAll(*Open());
  const auto sound = ReadSegments();
  ASSERT_GE(sound.size(), 2u);
  const char* const wanted = ::getenv("FATHOM_CORRUPTIONS");
  const int64_t cases = wanted != nullptr ? ::atoll(wanted) : 2000;
  std::mt19937_64 random(cases);
  int64_t found = 0, skipped = 0;
  for (int64_t i = 0; i < cases && !HasFailure(); ++i) {
    SCOPED_TRACE(i);
    auto files = sound;
    const size_t wounds = 1 + random() % 3;
    for (size_t wound = 0; wound < wounds; ++wound) {
      auto file = std::next(files.begin(), static_cast<std::ptrdiff_t>(random() % files.size()));
      Spoil(file->second, random);
    }
    for (const auto& [path, bytes] : files) ASSERT_TRUE(WriteFile(path, bytes).ok());
    const auto store = Open();
    found += FindAll(*store);
    skipped += store->stats().skipped;
  }
  // 15 pages in each case when nothing is lost. Damage costs what it touches and, where bytes were
  // cut out or put in, what they shifted; never everything.
  EXPECT_GT(found, cases * 15 / 3);
  EXPECT_LT(found, cases * 15);
  EXPECT_GT(skipped, cases / 2);
  fmt::print("{} corruptions: {:.1f} % of the pages found, {} records skipped\n", cases,
             100.0 * static_cast<double>(found) / static_cast<double>(cases * 15), skipped);
}

TEST_F(DamageTest, ACutAtAnyByteCostsWhatIsBehindIt) {
  options_.segment_bytes = options_.bytes_max;
  const auto tokens = Prompt(1, 4);
  {
    const auto store = Open();
    WritePages(*store, "a", tokens, 2, *pool_, options_.tail_bytes);
    WritePages(*store, "a", tokens, 4, *pool_, options_.tail_bytes);
  }
  const std::string path = options_.dir + "/" + SegmentName(1);
  const std::string whole = ReadFile(path).value();
  // Pages 1 and 2 and their tail, pages 3 and 4 and theirs.
  const size_t first = static_cast<size_t>(2 * RecordBytes(192) + RecordBytes(100));
  ASSERT_EQ(whole.size(), 2 * first);
#ifdef FATHOM_SANITIZED
  const size_t step = 8;
#else
  const size_t step = 1;
#endif
  for (size_t cut = 0; cut <= whole.size(); cut += step) {
    ASSERT_TRUE(WriteFile(path, whole.substr(0, cut)).ok());
    const auto store = Open();
    const Prefix found = store->Load("a", tokens, 0, *pool_);
    ASSERT_TRUE(IsRight(found, "a", tokens, 0, options_.page_bytes, options_.tail_bytes));
    ASSERT_EQ(found.tokens, cut == whole.size() ? 4 * 128 : cut >= first ? 2 * 128 : 0) << cut;
  }
}

TEST_F(DamageTest, ADamagedHeaderCostsOneRecord) {
  WriteAll(*Open());
  auto files = ReadSegments();
  auto& [path, bytes] = *files.begin();
  bytes[20] ^= 1;
  ASSERT_TRUE(WriteFile(path, bytes).ok());
  const auto report = InspectStore(options_.dir, Inspection::kHeaders);
  ASSERT_TRUE(report.ok());
  ASSERT_EQ(report.value().complaints.size(), 1u);
  EXPECT_EQ(report.value().complaints[0],
            "00000001.fathom-cache: a header with a wrong checksum at 0, 832 bytes");
  // The first page was shared by two prompts.
  EXPECT_EQ(FindAll(*Open()), 2 + 6);
}

TEST_F(DamageTest, ADamagedPayloadIsReplacedByWritingAgain) {
  WriteAll(*Open());
  auto files = ReadSegments();
  auto& [path, bytes] = *files.begin();
  bytes[kRecordHeaderBytes + 5] ^= 1;
  ASSERT_TRUE(WriteFile(path, bytes).ok());
  EXPECT_TRUE(InspectStore(options_.dir, Inspection::kHeaders).value().complaints.empty());
  EXPECT_EQ(InspectStore(options_.dir, Inspection::kPayloads).value().complaints.size(), 1u);
  auto store = Open();
  EXPECT_EQ(store->stats().skipped, 0) << "payloads are not read at the start";
  EXPECT_EQ(FindAll(*store), 2 + 6);
  EXPECT_EQ(store->stats().skipped, 1) << "once, and not once for each prompt";
  WriteAll(*store);
  EXPECT_EQ(store->stats().writes, 1);
  EXPECT_EQ(FindAll(*store), 15);
  store.reset();
  EXPECT_EQ(FindAll(*Open()), 15);
}

TEST_F(DamageTest, SegmentsMayChangeTheirNames) {
  WriteAll(*Open());
  const auto files = ReadSegments();
  int64_t number = 100;
  for (const auto& [path, bytes] : files) {
    ASSERT_TRUE(WriteFile(options_.dir + "/" + SegmentName(number--), bytes).ok());
    std::filesystem::remove(path);
  }
  EXPECT_EQ(FindAll(*Open()), 15);
}

// The checks of a record's own tokens, where two prefixes share a chain hash.
TEST_F(DamageTest, ARecordOfOtherTokensIsNotTaken) {
  const auto tokens = Prompt(1, 3);
  {
    const auto store = Open();
    WritePages(*store, "a", tokens, 3, *pool_, options_.tail_bytes);
  }
  auto files = ReadSegments();
  auto& [path, bytes] = *files.begin();
  const auto forge = [&](size_t at, auto change) {
    HeaderBytes header;
    std::memcpy(header.data(), bytes.data() + at, header.size());
    auto parsed = ParseHeader(header).header;
    ASSERT_TRUE(parsed.has_value());
    change(*parsed);
    std::string forged = bytes;
    const HeaderBytes sealed = EncodeHeader(*parsed);
    std::memcpy(forged.data() + at, sealed.data(), sealed.size());
    ASSERT_TRUE(WriteFile(path, forged).ok());
    const auto store = Open();
    EXPECT_EQ(store->Load("a", tokens, 0, *pool_).tokens, 0);
    EXPECT_EQ(store->stats().skipped, 1);
  };
  for (const int64_t record : {0, 1, 2, 3}) {
    const auto at = static_cast<size_t>(record * RecordBytes(192));
    forge(at, [](RecordHeader& header) { header.ids[127] += 1; });
    forge(at, [](RecordHeader& header) { header.parent.high += 1; });
    forge(at, [](RecordHeader& header) { header.tokens += 128; });
    forge(at, [](RecordHeader& header) { header.key_hash += 1; });
  }
}

}  // namespace
}  // namespace fathom::cache
