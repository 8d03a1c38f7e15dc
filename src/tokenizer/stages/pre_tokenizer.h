// The pre-tokenizer of a tokenizer.json: a sequence of isolating splits, each inside the pieces of
// the one before, ended by "ByteLevel". Patterns come from the file and run in PCRE2 with Unicode
// properties; they were written for Oniguruma, whose \s is exactly the White_Space property, which
// PCRE2's is not, so \s and \S are rewritten to that property.
//
// A pattern may be hostile or merely slow, so each match runs under limits. When JIT code runs out
// of stack, the interpreter takes over; when that exceeds a limit too, the rest of the piece stays
// unsplit, and after kFailuresMax such failures in one text the pattern is left out for its rest.
// Whatever happens, the pieces concatenate to the text. The limits bound backtracking, not plain
// scanning: a pattern that at every position scans to the end of the text and fails is quadratic.
// DeepSeek's patterns consume what they scan.
#pragma once

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/function_ref.h"
#include "base/json.h"
#include "base/result.h"

namespace fathom::tokenizer {

class PreTokenizer {
 public:
  // Failures of one pattern in one text before it is left out.
  static constexpr int kFailuresMax = 8;

  // `json` is the "pre_tokenizer" member.
  static Result<PreTokenizer> FromJson(const Json& json);

  // What one text needs: memory for matches, and the failures so far. One per thread.
  class Session {
   public:
    explicit Session(const PreTokenizer& pre_tokenizer);
    // Failures of all patterns together: 0 unless a limit was hit.
    int failures() const;

   private:
    friend class PreTokenizer;
    struct MatchDataDeleter {
      void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
    };
    struct Level {
      std::unique_ptr<pcre2_match_data, MatchDataDeleter> match_data;
      int failures = 0;
    };
    std::vector<Level> levels_;
  };

  // Hands the pieces of `text`, which must be well-formed UTF-8, to `on_piece` in order.
  void Split(std::string_view text, Session& session,
             FunctionRef<void(std::string_view)> on_piece) const;

 private:
  struct CodeDeleter {
    void operator()(pcre2_code* code) const { pcre2_code_free(code); }
  };
  struct ContextDeleter {
    void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
  };
  using Code = std::unique_ptr<pcre2_code, CodeDeleter>;

  static Result<Code> Compile(const Json& split);
  void SplitLevel(size_t level, std::string_view piece, Session& session,
                  FunctionRef<void(std::string_view)> on_piece) const;

  std::vector<Code> splits_;
  std::unique_ptr<pcre2_match_context, ContextDeleter> limits_;
};

}  // namespace fathom::tokenizer
