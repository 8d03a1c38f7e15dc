// UTF-8: validation, decoding, and the lossy rule for foreign bytes. Ill-formed input follows the
// WHATWG Encoding Standard (and Rust's from_utf8_lossy): each maximal subpart of an ill-formed
// sequence, Unicode 3.9 table 3-7, becomes one U+FFFD. What tokens mean is src/tokenizer.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace fathom::text {

// U+FFFD in UTF-8.
inline constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// One step of reading: a code point, or bytes that are none.
struct Utf8Step {
  enum class Kind {
    kCodePoint,   // `code_point` in `bytes` bytes
    kIllFormed,   // `bytes` bytes that stand for one U+FFFD
    kIncomplete,  // all the remaining bytes: more of them could complete a code point
  };
  Kind kind;
  int64_t bytes;
  char32_t code_point;  // U+FFFD when there is none
};

// Reads at the front of `bytes`, which must not be empty.
Utf8Step NextUtf8(std::string_view bytes);

// The length of the longest well-formed prefix.
int64_t ValidUtf8Prefix(std::string_view bytes);
bool IsValidUtf8(std::string_view bytes);

// The bytes as well-formed text; what is ill-formed, an incomplete tail included, is replaced.
std::string DecodeLossy(std::string_view bytes);

// Appends a code point; surrogates and values past U+10FFFF append U+FFFD.
void AppendUtf8(std::string& out, char32_t code_point);

// The same as DecodeLossy for bytes that arrive in pieces: for every split, the concatenation of
// what Add and the final Flush return is DecodeLossy of the whole. Every return value is
// well-formed; bytes known to be ill-formed are replaced at once, and at most three bytes are held
// back.
class Utf8Stream {
 public:
  std::string Add(std::string_view bytes);
  // The end of the input: U+FFFD for a sequence that was cut off. Ready for new input afterwards.
  std::string Flush();

 private:
  std::string pending_;  // the start of a sequence that may yet be completed
};

}  // namespace fathom::text
