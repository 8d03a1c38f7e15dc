// The tokenizer of a checkpoint, loaded from its tokenizer.json: text to token ids and back.
// Byte-level BPE in four stages, all of them defined by the file: added tokens are cut out of the
// text, the pre-tokenizer's split patterns cut the rest into pieces, each piece is taken as bytes,
// and the bytes are merged in the order of the merge list. The file format is that of the Hugging
// Face tokenizers library; what of it DeepSeek's files do not use (normalizers, other models, other
// splits) is refused with a message. Prompts and roles are not known here: that is src/chat.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "text/utf8.h"

namespace fathom::tokenizer {

struct EncodeOptions {
  // Whether the text of an added token becomes that token (the reference's behaviour, and how
  // prompts are encoded), or is ordinary text, so that it cannot forge control tokens.
  bool match_added_tokens = true;
};

struct DecodeOptions {
  // Leaves out the tokens whose entry says "special" (BOS, EOS, padding, place holders; not role
  // markers nor <think>).
  bool skip_special = false;
};

// Immutable once loaded; all members may be called from several threads at once.
class Tokenizer {
 public:
  static Result<Tokenizer> Load(const std::string& path);
  // `json` is the content of a tokenizer.json, `where` its name for messages.
  static Result<Tokenizer> FromJson(std::string_view json, const std::string& where);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // Never fails, adds no BOS, and DecodeBytes of the result is `text` again. Time is
  // O(n log n) for text of any shape. Bytes that are not UTF-8 are encoded as they are.
  std::vector<TokenId> Encode(std::string_view text, const EncodeOptions& options = {}) const;

  // The bytes of the tokens, in which a character may be cut; an id without a token is an error.
  Result<std::string> DecodeBytes(std::span<const TokenId> ids,
                                  const DecodeOptions& options = {}) const;
  // The same as text: ill-formed bytes become U+FFFD (text/utf8.h).
  Result<std::string> Decode(std::span<const TokenId> ids, const DecodeOptions& options = {}) const;

  // Largest id + 1.
  int64_t vocab_size() const;
  bool IsToken(TokenId id) const;
  // Whether the id has an entry among the added tokens (control tokens are among them).
  bool IsAdded(TokenId id) const;
  // Whether that entry says "special".
  bool IsSpecial(TokenId id) const;

  // The token's bytes, valid as long as the tokenizer; CHECKs that the id has a token.
  std::string_view TokenBytes(TokenId id) const;
  // The same as lossy text; empty for an id without a token. For showing one token by itself.
  std::string TokenText(TokenId id) const;

  // The added token of that content, for example "<｜User｜>".
  std::optional<TokenId> FindToken(std::string_view content) const;

 private:
  struct State;
  explicit Tokenizer(std::unique_ptr<const State> state);

  std::unique_ptr<const State> state_;
};

// Tokens one by one to text: for every sequence, the concatenation of what Add and Flush return is
// Decode of the whole, and every part is well-formed UTF-8. The tokenizer must outlive it.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, const DecodeOptions& options = {})
      : tokenizer_(&tokenizer), options_(options) {}

  // The text that is complete with this token; an id without a token is an error and changes
  // nothing.
  Result<std::string> Add(TokenId id);
  // The end of the sequence: U+FFFD for a character that was cut off.
  std::string Flush() { return stream_.Flush(); }

 private:
  const Tokenizer* tokenizer_;
  DecodeOptions options_;
  text::Utf8Stream stream_;
};

}  // namespace fathom::tokenizer
