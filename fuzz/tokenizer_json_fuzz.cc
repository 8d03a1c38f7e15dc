// The reader of tokenizer.json on arbitrary bytes. Inputs of a few hundred bytes hardly ever hold
// 256 byte tokens, so the same bytes are also tried as the pre-tokenizer, the added tokens and the
// merges of a valid file, and as text. What loads must encode and decode to the same bytes.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/json.h"
#include "tokenizer/synthetic.h"
#include "tokenizer/tokenizer.h"

namespace {

using fathom::Json;
using fathom::TokenId;
using fathom::tokenizer::StreamDecoder;
using fathom::tokenizer::Tokenizer;

void UseTokenizer(const Tokenizer& tokenizer, std::string_view text) {
  for (const bool match_added_tokens : {true, false}) {
    const std::vector<TokenId> ids =
        tokenizer.Encode(text, {.match_added_tokens = match_added_tokens});
    FATHOM_CHECK(tokenizer.DecodeBytes(ids).value() == text);
    StreamDecoder decoder(tokenizer);
    std::string streamed;
    for (const TokenId id : ids) {
      FATHOM_CHECK(match_added_tokens || !tokenizer.IsAdded(id));
      streamed += decoder.Add(id).value();
    }
    streamed += decoder.Flush();
    FATHOM_CHECK(streamed == tokenizer.Decode(ids).value());
  }
  (void)tokenizer.Decode(std::vector<TokenId>{0, 5, static_cast<TokenId>(text.size())});
}

void TryFile(std::string_view json, std::string_view text) {
  const auto loaded = Tokenizer::FromJson(json, "fuzz");
  if (loaded.ok()) {
    UseTokenizer(loaded.value(), text);
  } else {
    FATHOM_CHECK(loaded.error().message.find('\n') == std::string::npos, loaded.error().message);
  }
}

// A valid file; its vocabulary has some longer tokens for merges to make.
const Json& ValidFile() {
  static const Json kFile = [] {
    Json file = fathom::ParseJson(fathom::tokenizer::SyntheticTokenizerJson(280)).value();
    Json* vocab = file.Find("model")->Find("vocab");
    TokenId id = 280;
    for (const char* content : {"ab", "abc", "bc", "aa", "aaaa", "\u0120a", "<B>"})
      vocab->Set(content, id++);
    return file;
  }();
  return kFile;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const std::string text = "aaaa abc 12 <B>\u4e2d\n\n " + std::string(bytes.substr(0, 256));
  TryFile(bytes, text);
  // A pattern on its own: most bytes are one, while few are JSON.
  if (size > 0 && size <= 64 && fathom::text::IsValidUtf8(bytes)) {
    Json file = ValidFile();
    Json& split = file.Find("pre_tokenizer")->Find("pretokenizers")->array()[2];
    split.Find("pattern")->Set("Regex", bytes);
    TryFile(fathom::WriteJson(file), text);
  }
  const auto part = fathom::ParseJson(bytes);
  if (!part.ok()) {
    static const Tokenizer kTokenizer =
        Tokenizer::FromJson(fathom::WriteJson(ValidFile()), "valid").value();
    UseTokenizer(kTokenizer, bytes);
    return 0;
  }
  for (const char* name : {"pre_tokenizer", "added_tokens", "merges"}) {
    Json file = ValidFile();
    (name == std::string_view("merges") ? *file.Find("model") : file).Set(name, part.value());
    TryFile(fathom::WriteJson(file), text);
  }
  return 0;
}
