// The state machine. Text passes three stages: bytes to characters, BOS and EOS taken out, then the
// states below. A Step function consumes from the front of Rest() and returns false when it needs
// more text. Rule numbers (T1 to T12) are those of docs/formats/chat.md.
//
//   kReasoning, kContent   text; `<` may begin a tag
//   kBlock                 between tags of a tool-call block, inside a call or not: text is skipped
//   kInvokeTag, kParameterTag   the attributes of an opening tag, up to its `>`
//   kValue                 a parameter's value, up to the first closing tag
#include "chat/output_parser.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "base/check.h"
#include "chat/templates.h"

namespace fathom::chat {
namespace {

constexpr std::string_view kSpace = " \t\n\r\f\v";
bool IsSpace(char c) { return kSpace.find(c) != kSpace.npos; }

std::string_view TrimRight(std::string_view text) {
  return text.substr(0, text.find_last_not_of(kSpace) + 1);
}
std::string_view TrimLeft(std::string_view text) {
  return text.substr(std::min(text.find_first_not_of(kSpace), text.size()));
}

enum class Match { kNo, kPartial, kYes };
Match MatchFront(std::string_view text, std::string_view tag) {
  if (text.starts_with(tag)) return Match::kYes;
  return tag.starts_with(text) ? Match::kPartial : Match::kNo;
}

// The first of `tags` at the front of the text; kPartial when one of them may yet be.
struct Found {
  Match match = Match::kNo;
  std::string_view tag;
};
template <size_t n>
Found MatchAny(std::string_view text, const std::array<std::string_view, n>& tags) {
  Found found;
  for (const std::string_view tag : tags) {
    const Match match = MatchFront(text, tag);
    if (match == Match::kYes) return {match, tag};
    if (match == Match::kPartial) found.match = match;
  }
  return found;
}

constexpr std::array kTextTags = {kThink, kEndThink, kCallsOpen, kCallsOpenV32};
constexpr std::array kTextTagsWithoutControl = {kCallsOpen, kCallsOpenV32};
constexpr std::array kBlockTags = {kInvokeOpen, kInvokeClose, kParameterOpen, kCallsClose,
                                   kCallsCloseV32};

// T13: markup in CONTENT that opens no block.
struct Stray {
  enum class Kind {
    kNone,     // plain text
    kUnknown,  // more text must tell
    kInBlock,  // belongs in a block whose opening tag is missing
    kDropped,  // the first `bytes`
  } kind;
  size_t bytes = 0;
};
Stray FindStray(std::string_view text, bool is_end) {
  constexpr std::array kInBlock = {kInvokeOpen, kParameterOpen};
  constexpr std::array<std::string_view, 3> kMarkers = {"<｜DSML｜", "</｜DSML｜", kDsml};
  const Match in_block = MatchAny(text, kInBlock).match;
  if (in_block == Match::kYes) return {Stray::Kind::kInBlock};
  const Found marker = MatchAny(text, kMarkers);
  if (marker.match == Match::kNo) return {Stray::Kind::kNone};
  if (!is_end && (marker.match == Match::kPartial || in_block == Match::kPartial))
    return {Stray::Kind::kUnknown};
  if (marker.match == Match::kPartial) return {Stray::Kind::kNone};
  const size_t end = text.find_first_not_of("abcdefghijklmnopqrstuvwxyz_", marker.tag.size());
  if (end == text.npos)
    return {is_end ? Stray::Kind::kDropped : Stray::Kind::kUnknown, text.size()};
  return {Stray::Kind::kDropped, end + (text[end] == '>' ? 1 : 0)};
}

// Where a tag may begin: at '<', in CONTENT also at a marker without it, or at what may become one.
size_t FindTag(std::string_view text, bool is_content) {
  const size_t tag = text.find('<');
  if (!is_content) return tag;
  const size_t marker = text.find(kDsml);
  if (tag != text.npos || marker != text.npos) return std::min(tag, marker);
  for (size_t bytes = std::min(text.size(), kDsml.size() - 1); bytes > 0; --bytes)
    if (text.ends_with(kDsml.substr(0, bytes))) return text.size() - bytes;
  return text.npos;
}

// How many of the newlines at the end of the text a block would swallow (T5).
size_t SwallowedNewlines(std::string_view text) {
  size_t n = 0;
  while (n < 2 && n < text.size() && text[text.size() - 1 - n] == '\n') ++n;
  return n;
}

struct TagAttributes {
  std::optional<std::string> name;
  std::optional<bool> is_string;
};

// ` name="KEY" string="true"`. Nothing is escaped in it, so the name may hold quotes: it ends where
// the string attribute or the tag does.
TagAttributes ReadAttributes(std::string_view text) {
  TagAttributes out;
  text = TrimRight(TrimLeft(text));
  constexpr std::string_view kString = "string=\"";
  const auto read_string = [&](std::string_view value) {
    if (value == "true") out.is_string = true;
    if (value == "false") out.is_string = false;
  };
  if (text.starts_with(kString)) {  // in front of the name
    const size_t end = text.find('"', kString.size());
    if (end == text.npos) return out;
    read_string(text.substr(kString.size(), end - kString.size()));
    text = TrimLeft(text.substr(end + 1));
  } else if (const size_t at = text.rfind(kString); at != text.npos && text.ends_with('"')) {
    const size_t value = at + kString.size();
    const std::string_view before = TrimRight(text.substr(0, at));
    const bool is_attribute = value < text.size() && before.size() < at && before.ends_with('"') &&
                              text.find('"', value) == text.size() - 1;
    if (is_attribute) {
      read_string(text.substr(value, text.size() - 1 - value));
      text = before;
    }
  }
  constexpr std::string_view kName = "name=\"";
  if (text.starts_with(kName) && text.ends_with('"') && text.size() > kName.size())
    out.name = text.substr(kName.size(), text.size() - 1 - kName.size());
  return out;
}

// Longer attributes are no tag that anyone means; the bound keeps the search for its end cheap.
constexpr size_t kAttributesBytesMax = 16 * 1024;

// Where the attributes of a tag end: at `>` after a closing quote, or at the first `>` when there
// is no quote at all.
struct TagEnd {
  enum class Kind { kUnknown, kEnd, kBroken } kind;
  size_t bytes;  // of attributes
};
TagEnd FindTagEnd(std::string_view text, size_t from) {
  const size_t first_quote = text.find('"');
  for (size_t i = from; i < text.size(); ++i) {
    if (i > kAttributesBytesMax) return {TagEnd::Kind::kBroken, i};
    if (text[i] == '<') {
      // Another tag begins inside the attributes: this one was never finished.
      constexpr std::array<std::string_view, 2> kAnyTag = {"<｜DSML｜", "</｜DSML｜"};
      const Match match = MatchAny(text.substr(i), kAnyTag).match;
      if (match == Match::kYes) return {TagEnd::Kind::kBroken, i};
      if (match == Match::kPartial) return {TagEnd::Kind::kUnknown, i};
    }
    if (text[i] != '>') continue;
    if (first_quote > i) return {TagEnd::Kind::kEnd, i};
    const size_t last = text.find_last_not_of(kSpace, i - 1);
    if (text[last] == '"' && last != first_quote) return {TagEnd::Kind::kEnd, i};
  }
  return {TagEnd::Kind::kUnknown, text.size()};
}

}  // namespace

OutputParser::OutputParser(ParserOptions options)
    : options_(std::move(options)),
      state_(options_.starts_in_reasoning ? State::kReasoning : State::kContent),
      stops_(options_.stop_strings),
      calls_(options_.tools) {}

std::vector<Delta> OutputParser::Feed(std::string_view piece) {
  if (is_done_) return {};
  pending_ += TakeControlText(utf8_.Add(piece), /*is_end=*/false);
  Run(/*is_end=*/is_done_);
  return out_.Take();
}

std::vector<Delta> OutputParser::FeedControl(ControlToken token) {
  if (is_done_) return {};
  // What is held back cannot continue across a token of another kind.
  utf8_.Flush();  // half a character is nothing
  pending_ += TakeControlText("", /*is_end=*/true);
  if (token == ControlToken::kEndOfText) {
    is_done_ = true;
    Run(/*is_end=*/true);
  } else if (state_ == State::kReasoning || state_ == State::kContent) {
    Run(/*is_end=*/true);  // opens no block: a whole opening tag would not have waited
    SwitchThinking(token == ControlToken::kOpenThink);
  } else {  // inside a block these are text like any other
    pending_ += token == ControlToken::kOpenThink ? kThink : kEndThink;
    Run(/*is_end=*/false);
  }
  return out_.Take();
}

OutputParser::Finished OutputParser::Finish(StopReason reason) {
  FATHOM_CHECK(!is_finished_, "Finish is called once");
  is_finished_ = true;
  if (!is_done_) {
    utf8_.Flush();  // half a character is nothing
    pending_ += TakeControlText("", /*is_end=*/true);
    Run(/*is_end=*/true);
  }
  LeaveContent();
  if (is_done_) reason = StopReason::kStop;  // EOS or a stop string came before any limit
  if (calls_.has_open_call()) {
    // T8 and T9: only end tags may be missing, and not because the tokens ran out.
    if (state_ == State::kValue || reason == StopReason::kLength) {
      calls_.AbandonCall(out_);
    } else {
      calls_.EndCall(out_);
    }
  }
  is_done_ = true;
  Finished finished{out_.Take(), FinishReason::kStop, calls_.has_partial_call()};
  if (reason == StopReason::kLength || calls_.has_partial_call()) {
    finished.reason = FinishReason::kLength;
  } else if (calls_.complete_calls() > 0) {
    finished.reason = FinishReason::kToolCalls;
  }
  return finished;
}

// T3: BOS is dropped, EOS ends everything; what may begin one of them waits.
std::string OutputParser::TakeControlText(std::string_view piece, bool is_end) {
  if (!options_.reads_control_text) return std::string(piece);
  control_pending_ += piece;
  constexpr std::array kTags = {kBos, kEos};
  const std::string_view text = control_pending_;
  std::string out;
  size_t at = 0;
  for (;;) {
    const size_t begin = text.find('<', at);
    out += text.substr(at, begin - at);
    at = std::min(begin, text.size());
    if (at == text.size()) break;
    const Found found = MatchAny(text.substr(at), kTags);
    if (found.match == Match::kPartial && !is_end) break;
    if (found.match == Match::kYes) {
      at += found.tag.size();
      if (found.tag == kEos) {
        is_done_ = true;
        at = text.size();
        break;
      }
    } else {
      out += text[at++];
    }
  }
  control_pending_.erase(0, at);
  return out;
}

void OutputParser::Run(bool is_end) {
  for (bool goes_on = true; goes_on && !stops_.hit() && at_ < pending_.size();) {
    switch (state_) {
      case State::kReasoning:
      case State::kContent:
        goes_on = StepText(is_end);
        break;
      case State::kBlock:
        goes_on = StepBlock(is_end);
        break;
      case State::kInvokeTag:
      case State::kParameterTag:
        goes_on = StepTag(is_end);
        break;
      case State::kValue:
        goes_on = StepValue(is_end);
        break;
    }
  }
  pending_.erase(0, at_);
  at_ = 0;
  if (stops_.hit()) is_done_ = true;
}

bool OutputParser::StepText(bool is_end) {
  const std::string_view rest = Rest();
  const size_t begin = FindTag(rest, state_ == State::kContent);
  const std::string_view before = rest.substr(0, begin);
  const size_t swallowed = SwallowedNewlines(before);
  const std::string_view certain = before.substr(0, before.size() - swallowed);
  if (begin == rest.npos) {
    EmitText(is_end ? before : certain);
    at_ += is_end ? before.size() : certain.size();
    return false;
  }
  const Found found = options_.reads_control_text
                          ? MatchAny(rest.substr(begin), kTextTags)
                          : MatchAny(rest.substr(begin), kTextTagsWithoutControl);
  if (found.match == Match::kPartial && !is_end) {
    EmitText(certain);
    at_ += certain.size();
    return false;
  }
  if (found.match == Match::kYes && (found.tag == kThink || found.tag == kEndThink)) {
    EmitText(before);
    at_ += before.size() + found.tag.size();
    if (!stops_.hit()) SwitchThinking(found.tag == kThink);
    return true;
  }
  bool is_known = true;
  const bool opens =
      found.match == Match::kYes && IsCallsTagBelieved(begin + found.tag.size(), is_end, is_known);
  if (!is_known) {
    EmitText(certain);
    at_ += certain.size();
    return false;
  }
  looked_bytes_ = 0;
  if (!opens) return StepStray(begin, certain, is_end);
  EmitText(certain);
  at_ += begin + found.tag.size();
  if (stops_.hit()) return false;
  LeaveContent();
  state_ = State::kBlock;
  return true;
}

// What begins at `begin` is no tag of text.
bool OutputParser::StepStray(size_t begin, std::string_view certain, bool is_end) {
  const std::string_view rest = Rest();
  Stray stray{Stray::Kind::kNone};
  if (state_ == State::kContent) stray = FindStray(rest.substr(begin), is_end);
  if (stray.kind == Stray::Kind::kNone) {
    const size_t end = begin + (rest[begin] == '<' ? 1 : kDsml.find('D'));  // a whole character
    EmitText(rest.substr(0, end));
    at_ += end;
    return true;
  }
  EmitText(certain);
  if (stray.kind == Stray::Kind::kUnknown) {
    at_ += certain.size();
    return false;
  }
  at_ += begin + stray.bytes;
  if (stray.kind == Stray::Kind::kInBlock && !stops_.hit()) {
    LeaveContent();
    state_ = State::kBlock;
  }
  return true;
}

// T5: while reasoning the model may quote the tag; it is meant when an invoke follows.
bool OutputParser::IsCallsTagBelieved(size_t tag_end, bool is_end, bool& is_known) {
  is_known = true;
  if (state_ == State::kContent) return true;
  const std::string_view after = Rest().substr(tag_end);
  const size_t first = after.find_first_not_of(kSpace, looked_bytes_);
  looked_bytes_ = std::min(first, after.size());
  const Match match =
      first == after.npos ? Match::kPartial : MatchFront(after.substr(first), kInvokeOpen);
  if (match == Match::kPartial && !is_end) is_known = false;
  return match == Match::kYes;
}

bool OutputParser::StepBlock(bool is_end) {
  const std::string_view rest = Rest();
  const size_t begin = rest.find('<');
  at_ += std::min(begin, rest.size());
  if (begin == rest.npos) return false;
  const std::string_view text = Rest();
  const Found found = MatchAny(text, kBlockTags);
  if (found.match == Match::kPartial) {
    if (!is_end) return false;
    ++at_;
    return true;
  }
  if (found.match == Match::kNo) {
    ++at_;
    return true;
  }
  if (found.tag == kInvokeOpen || found.tag == kParameterOpen) {
    // The word must end here: "invoker" is no invoke. At the end of all text it never was a tag.
    if (text.size() == found.tag.size() && !is_end) return false;
    const char next = text.size() == found.tag.size() ? '\0' : text[found.tag.size()];
    const bool is_invoke = found.tag == kInvokeOpen;
    if ((next != '>' && !IsSpace(next)) || (!is_invoke && !calls_.has_open_call())) {
      ++at_;
      return true;
    }
    // T6: the next invoke ends the one before it.
    if (is_invoke && calls_.has_open_call()) calls_.EndCall(out_);
    at_ += found.tag.size();
    state_ = is_invoke ? State::kInvokeTag : State::kParameterTag;
    looked_bytes_ = 0;
    return true;
  }
  at_ += found.tag.size();
  if (calls_.has_open_call()) calls_.EndCall(out_);
  if (found.tag == kCallsClose || found.tag == kCallsCloseV32) {
    state_ = State::kContent;
    is_after_block_ = true;
  }
  return true;
}

bool OutputParser::StepTag(bool is_end) {
  const std::string_view rest = Rest();
  const TagEnd end = FindTagEnd(rest, looked_bytes_);
  if (end.kind == TagEnd::Kind::kUnknown) {
    looked_bytes_ = end.bytes;
    // Cut off inside the tag: it is as if it had not begun.
    if (is_end) at_ = pending_.size();
    return false;
  }
  looked_bytes_ = 0;
  const bool is_broken = end.kind == TagEnd::Kind::kBroken;
  OpenTag(rest.substr(0, end.bytes), is_broken);
  at_ += end.bytes + (is_broken ? 0 : 1);
  return true;
}

void OutputParser::OpenTag(std::string_view attributes, bool is_broken) {
  TagAttributes read;
  if (!is_broken) read = ReadAttributes(attributes);
  if (state_ == State::kInvokeTag) {
    calls_.BeginCall(out_, read.name);
    state_ = State::kBlock;
  } else if (read.name) {
    calls_.BeginParameter(out_, *read.name, read.is_string);
    state_ = State::kValue;
  } else {
    state_ = State::kBlock;
  }
}

bool OutputParser::StepValue(bool is_end) {
  const std::string_view rest = Rest();
  size_t begin = rest.find('<');
  Match match = Match::kNo;
  while (begin != rest.npos) {
    match = MatchFront(rest.substr(begin), kParameterClose);
    if (match != Match::kNo) break;
    begin = rest.find('<', begin + 1);
  }
  const std::string_view before = rest.substr(0, begin);
  calls_.AddValue(out_, before);
  at_ += before.size();
  if (match == Match::kYes) {
    at_ += kParameterClose.size();
    calls_.EndParameter(out_);
    state_ = State::kBlock;
    return true;
  }
  // Half an end tag at the end of all text belongs to no value.
  if (is_end) at_ = pending_.size();
  return false;
}

// T1 and T2; T10's white space does not outlive a change of state.
void OutputParser::SwitchThinking(bool to_reasoning) {
  if (to_reasoning && state_ == State::kContent) {
    LeaveContent();
    state_ = State::kReasoning;
  } else if (!to_reasoning) {
    state_ = State::kContent;
  }
}

void OutputParser::LeaveContent() {
  out_.Add(Delta::Kind::kContent, stops_.Flush());
  space_.clear();
  is_after_block_ = false;
}

void OutputParser::EmitText(std::string_view text) {
  if (state_ == State::kReasoning) {
    out_.Add(Delta::Kind::kReasoning, text);
    return;
  }
  if (is_after_block_) {
    space_ += text;
    if (TrimLeft(text).empty()) return;
    is_after_block_ = false;
    EmitContent(std::exchange(space_, ""));
    return;
  }
  EmitContent(text);
}

void OutputParser::EmitContent(std::string_view text) {
  out_.Add(Delta::Kind::kContent, stops_.Add(text));
}

ParsedMessage ParseCompletion(std::string_view text, const ParserOptions& options,
                              StopReason reason) {
  OutputParser parser(options);
  ParsedMessage message;
  for (const Delta& delta : parser.Feed(text)) Append(message, delta);
  const OutputParser::Finished finished = parser.Finish(reason);
  for (const Delta& delta : finished.deltas) Append(message, delta);
  message.finish_reason = finished.reason;
  return message;
}

}  // namespace fathom::chat
