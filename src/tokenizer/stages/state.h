// What a loaded tokenizer consists of; shared by the reader of the file (load.cc) and the door
// (tokenizer.cc).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/types.h"
#include "tokenizer/stages/added_tokens.h"
#include "tokenizer/stages/bpe.h"
#include "tokenizer/stages/pre_tokenizer.h"
#include "tokenizer/tokenizer.h"

namespace fathom::tokenizer {

// The bytes of every id, one after another in one block.
class TokenTable {
 public:
  enum Flag : uint8_t { kPresent = 1, kAdded = 2, kSpecial = 4 };

  // Ids in order; a gap is added with flags 0.
  void Append(std::string_view bytes, uint8_t flags) {
    blob_ += bytes;
    ends_.push_back(static_cast<int64_t>(blob_.size()));
    flags_.push_back(flags);
  }
  int64_t size() const { return std::ssize(flags_); }
  bool Has(TokenId id, Flag flag) const {
    return id >= 0 && id < size() && (flags_[static_cast<size_t>(id)] & flag) != 0;
  }
  // `id` must be present.
  std::string_view Bytes(TokenId id) const {
    const int64_t begin = id == 0 ? 0 : ends_[static_cast<size_t>(id) - 1];
    const int64_t end = ends_[static_cast<size_t>(id)];
    return std::string_view(blob_).substr(static_cast<size_t>(begin),
                                          static_cast<size_t>(end - begin));
  }

 private:
  std::string blob_;
  std::vector<int64_t> ends_;
  std::vector<uint8_t> flags_;
};

struct Tokenizer::State {
  TokenTable tokens;
  std::unordered_map<std::string, TokenId> added_ids;  // by content
  AddedTokenMatcher verbatim;                          // "normalized": false, matched first
  AddedTokenMatcher normalized;  // "normalized": true, matched in what is left
  PreTokenizer pre_tokenizer;
  Bpe bpe;
};

}  // namespace fathom::tokenizer
