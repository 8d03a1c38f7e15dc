// The disk tier on a segment of arbitrary bytes: no crash, and a prefix is found only when its
// tokens are the ones asked for. The input is the whole file, once as it is and once with the
// checksums of its headers made right, which no search finds by itself. The seeds are stores of
// PromptOf's prompts under the key "key".
#include <stdlib.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/file.h"
#include "base/log.h"
#include "cache/disk_format.h"
#include "cache/disk_store.h"

namespace {

using fathom::TokenId;
namespace cache = fathom::cache;
namespace model = fathom::model;

// A folder of this process, deleted at its end.
class Folder {
 public:
  Folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "fathom-fuzz-XXXXXX").string();
    FATHOM_CHECK(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Token i of prompt p is i in its first p pages and i + p behind them.
std::vector<TokenId> PromptOf(int p) {
  std::vector<TokenId> tokens(3 * model::kPageTokens + 1);
  for (size_t i = 0; i < tokens.size(); ++i) {
    const bool is_own = static_cast<int64_t>(i) >= p * model::kPageTokens;
    tokens[i] = static_cast<TokenId>(i) + (is_own ? p : 0);
  }
  return tokens;
}

// Puts the right checksum into whatever may be a header.
std::string Seal(std::string bytes) {
  constexpr size_t kChecksumAt = 16;
  const auto header_bytes = static_cast<size_t>(cache::kRecordHeaderBytes);
  for (size_t at = 0; at + header_bytes <= bytes.size(); at += cache::kRecordAlignment) {
    const auto header = std::as_bytes(std::span(bytes).subspan(at, header_bytes));
    if (!cache::HasMagic(header)) continue;
    uint64_t checksum = 0;
    std::memcpy(bytes.data() + at + kChecksumAt, &checksum, sizeof(checksum));
    checksum = cache::Checksum(header);
    std::memcpy(bytes.data() + at + kChecksumAt, &checksum, sizeof(checksum));
  }
  return bytes;
}

void TryStore(const Folder& folder, std::string_view bytes) {
  FATHOM_CHECK(fathom::WriteFile(folder.path() + "/00000001.fathom-cache", bytes).ok());
  const cache::DiskOptions options = {.dir = folder.path(),
                                      .bytes_max = int64_t{1} << 30,
                                      .fingerprint = 7,
                                      .page_bytes = 64,
                                      .tail_bytes = 32};
  const auto report = cache::InspectStore(folder.path(), cache::Inspection::kPayloads);
  FATHOM_CHECK(report.ok());
  const auto store = cache::DiskStore::Open(options);
  FATHOM_CHECK(store.ok());
  const auto pool = model::PagePool::Make(options.page_bytes);
  for (const int p : {0, 1, 2}) {
    const auto tokens = PromptOf(p);
    const cache::Prefix found = store.value()->Load("key", tokens, 0, *pool);
    FATHOM_CHECK_EQ(found.tokens, std::ssize(found.pages) * model::kPageTokens);
    FATHOM_CHECK_LT(found.tokens, std::ssize(tokens));
    FATHOM_CHECK_EQ(found.tail != nullptr, found.tokens > 0);
    // Each page that was found is a sound record.
    FATHOM_CHECK_LE(std::ssize(found.pages), std::ssize(report.value().entries));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Folder folder;
  fathom::SetLogLevel(fathom::LogLevel::kError);
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  TryStore(folder, bytes);
  TryStore(folder, Seal(bytes));
  return 0;
}
