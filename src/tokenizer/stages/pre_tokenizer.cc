#include "tokenizer/stages/pre_tokenizer.h"

#include <fmt/format.h>

#include "base/check.h"
#include "text/utf8.h"

namespace fathom::tokenizer {
namespace {

// Splits in a sequence: DeepSeek uses three; each is a level of recursion here.
constexpr size_t kSplitsMax = 32;
// Bytes of one pattern: the longest published one has 180.
constexpr size_t kPatternBytesMax = 1 << 14;
// Steps of one match. The patterns of DeepSeek take about one step per character of the match.
constexpr uint32_t kMatchSteps = 10'000'000;
// Nesting of the interpreter, and its memory in KiB.
constexpr uint32_t kDepthMax = 100'000;
constexpr uint32_t kHeapKibMax = 64 * 1024;

Error Refused(std::string_view what) { return Error{fmt::format("pre_tokenizer: {}", what)}; }

// The value of a string member, or "" when there is none.
std::string_view StringOf(const Json& object, std::string_view name) {
  const Json* member = object.Find(name);
  return member != nullptr && member->is_string() ? std::string_view(member->string())
                                                  : std::string_view();
}

bool IsTrue(const Json& object, std::string_view name) {
  const Json* member = object.Find(name);
  return member != nullptr && member->is_bool() && member->boolean();
}

// Oniguruma's \s and \S in PCRE2's words; both forms may also stand inside a class.
std::string TranslatePattern(std::string_view pattern) {
  std::string out;
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '\\' || i + 1 == pattern.size()) {
      out += pattern[i];
      continue;
    }
    const char escaped = pattern[++i];
    if (escaped == 's' || escaped == 'S') {
      out += escaped == 's' ? "\\p{White_Space}" : "\\P{White_Space}";
    } else {
      out += '\\';
      out += escaped;
    }
  }
  return out;
}

Result<void> CheckByteLevel(const Json& json) {
  if (StringOf(json, "type") != "ByteLevel")
    return Refused("expected \"ByteLevel\" at the end of the sequence");
  if (IsTrue(json, "add_prefix_space"))
    return Refused("ByteLevel with \"add_prefix_space\" is not supported");
  // Absent means true there: a split by a pattern that the file does not show.
  const Json* use_regex = json.Find("use_regex");
  if (use_regex == nullptr || !use_regex->is_bool() || use_regex->boolean())
    return Refused("ByteLevel with \"use_regex\" is not supported: expected false");
  return {};
}

std::string PcreMessage(int code) {
  PCRE2_UCHAR buffer[256];
  if (pcre2_get_error_message(code, buffer, sizeof buffer) < 0) return "unknown error";
  return reinterpret_cast<const char*>(buffer);
}

}  // namespace

Result<PreTokenizer::Code> PreTokenizer::Compile(const Json& split) {
  if (StringOf(split, "type") != "Split")
    return Refused(fmt::format("expected a \"Split\" before the last entry, found \"{}\"",
                               StringOf(split, "type")));
  if (StringOf(split, "behavior") != "Isolated" || IsTrue(split, "invert"))
    return Refused("a Split must have \"behavior\" \"Isolated\" and not be inverted");
  const Json* pattern = split.Find("pattern");
  const Json* regex = pattern == nullptr ? nullptr : pattern->Find("Regex");
  const Json* literal = pattern == nullptr ? nullptr : pattern->Find("String");
  const Json* source = regex != nullptr ? regex : literal;
  if (source == nullptr || !source->is_string() || (regex != nullptr && literal != nullptr))
    return Refused("a Split needs a \"pattern\" with either a \"Regex\" or a \"String\"");
  if (source->string().empty() || source->string().size() > kPatternBytesMax)
    return Refused(fmt::format("expected a pattern of 1 to {} bytes, found {}", kPatternBytesMax,
                               source->string().size()));
  const std::string text = regex != nullptr ? TranslatePattern(regex->string()) : literal->string();
  // \C would match half a character.
  const uint32_t options = PCRE2_UTF | (regex != nullptr ? PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C
                                                         : uint32_t{PCRE2_LITERAL});
  int error = 0;
  PCRE2_SIZE error_at = 0;
  Code code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), options, &error,
                          &error_at, nullptr));
  if (code == nullptr)
    return Refused(fmt::format("cannot compile a pattern: {} at byte {}", PcreMessage(error),
                               static_cast<size_t>(error_at)));
  // Where JIT is not available the interpreter does the same, more slowly.
  (void)pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);
  return code;
}

Result<PreTokenizer> PreTokenizer::FromJson(const Json& json) {
  PreTokenizer out;
  out.limits_.reset(pcre2_match_context_create(nullptr));
  FATHOM_CHECK(out.limits_ != nullptr, "out of memory");
  pcre2_set_match_limit(out.limits_.get(), kMatchSteps);
  pcre2_set_depth_limit(out.limits_.get(), kDepthMax);
  pcre2_set_heap_limit(out.limits_.get(), kHeapKibMax);
  if (StringOf(json, "type") != "Sequence") {
    FATHOM_TRY_VOID(CheckByteLevel(json));
    return out;
  }
  const Json* steps = json.Find("pretokenizers");
  if (steps == nullptr || !steps->is_array() || steps->array().empty())
    return Refused("expected a list \"pretokenizers\" with at least one entry");
  if (steps->array().size() > kSplitsMax + 1)
    return Refused(
        fmt::format("expected at most {} splits, found {}", kSplitsMax, steps->array().size() - 1));
  FATHOM_TRY_VOID(CheckByteLevel(steps->array().back()));
  for (size_t i = 0; i + 1 < steps->array().size(); ++i) {
    FATHOM_TRY(Code code, Compile(steps->array()[i]));
    out.splits_.push_back(std::move(code));
  }
  return out;
}

PreTokenizer::Session::Session(const PreTokenizer& pre_tokenizer) {
  for (const Code& code : pre_tokenizer.splits_) {
    Level level;
    level.match_data.reset(pcre2_match_data_create_from_pattern(code.get(), nullptr));
    FATHOM_CHECK(level.match_data != nullptr, "out of memory");
    levels_.push_back(std::move(level));
  }
}

int PreTokenizer::Session::failures() const {
  int failures = 0;
  for (const Level& level : levels_) failures += level.failures;
  return failures;
}

void PreTokenizer::Split(std::string_view text, Session& session,
                         FunctionRef<void(std::string_view)> on_piece) const {
  SplitLevel(0, text, session, on_piece);
}

// Ref: tokenizers, Split with SplitDelimiterBehavior::Isolated over Oniguruma's find_iter: matches
// and the stretches between them are pieces; an empty match cuts, but not right after a match.
void PreTokenizer::SplitLevel(size_t level, std::string_view piece, Session& session,
                              FunctionRef<void(std::string_view)> on_piece) const {
  if (level == splits_.size()) {
    on_piece(piece);
    return;
  }
  Session::Level& state = session.levels_[level];
  const auto emit = [&](size_t begin, size_t end) {
    if (begin < end) SplitLevel(level + 1, piece.substr(begin, end - begin), session, on_piece);
  };
  size_t search = 0;     // where the next match may start
  size_t emitted = 0;    // the end of the last match
  bool is_first = true;  // no match so far
  while (search <= piece.size() && state.failures < kFailuresMax) {
    const auto match = [&](uint32_t options) {
      return pcre2_match(splits_[level].get(), reinterpret_cast<PCRE2_SPTR>(piece.data()),
                         piece.size(), search, PCRE2_NO_UTF_CHECK | options, state.match_data.get(),
                         limits_.get());
    };
    int status = match(0);
    if (status == PCRE2_ERROR_JIT_STACKLIMIT) status = match(PCRE2_NO_JIT);
    if (status == PCRE2_ERROR_NOMATCH) break;
    const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(state.match_data.get());
    const size_t begin = status < 0 ? 0 : bounds[0];
    const size_t end = status < 0 ? 0 : bounds[1];
    // A \K can put the start of a match before the search or behind its end.
    if (status < 0 || begin < emitted || end < begin) {
      ++state.failures;
      break;
    }
    if (begin == end && end == emitted && !is_first) {
      if (end == piece.size()) break;
      search = end + static_cast<size_t>(text::NextUtf8(piece.substr(end)).bytes);
      continue;
    }
    emit(emitted, begin);
    emit(begin, end);
    search = emitted = end;
    is_first = false;
  }
  emit(emitted, piece.size());
}

}  // namespace fathom::tokenizer
