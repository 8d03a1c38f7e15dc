// Reads what the model generates: reasoning, content and tool calls, as a stream. Text may be cut
// anywhere, inside a tag or inside a character: the concatenated deltas are the same for every cut.
// The reading is tolerant: malformed markup is repaired or closed, never an error. Text that may
// turn out to be a tag is held back until it is known.
//
// Control tokens can arrive in two ways: as text, or out of band by FeedControl when the caller
// sees token ids. A caller with ids turns `reads_control_text` off, so that "<think>" spelled out
// in ordinary tokens stays text.
//
// Which tokens are sampled, token limits and call ids are not known here.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "chat/call_writer.h"
#include "chat/delta.h"
#include "chat/stop_matcher.h"
#include "text/utf8.h"

namespace fathom::chat {

struct ParserOptions {
  bool starts_in_reasoning = true;     // as the prompt says: EncodedPrompt::starts_in_reasoning
  bool reads_control_text = true;      // <think>, </think>, BOS and EOS are recognised in the text
  std::vector<ToolSchema> tools = {};  // of the request, to take wrappers off; may be empty
  std::vector<std::string> stop_strings = {};  // matched in content only, never emitted
};

enum class ControlToken { kOpenThink, kCloseThink, kEndOfText };
// Why the engine stopped sampling. kStop: EOS or a stop string.
enum class StopReason { kStop, kLength };

class OutputParser {
 public:
  explicit OutputParser(ParserOptions options);

  // Takes a piece of text. After the end (is_done) everything is ignored.
  std::vector<Delta> Feed(std::string_view piece);
  std::vector<Delta> FeedControl(ControlToken token);

  // EOS came or a stop string was found: nothing more can come out but what Finish releases.
  bool is_done() const { return is_done_; }
  bool stop_string_hit() const { return stops_.hit(); }
  const std::string& stop_string() const { return stops_.found(); }

  struct Finished {
    std::vector<Delta> deltas;
    FinishReason reason;
    bool has_partial_call = false;  // the last call was cut off; then the reason is kLength
  };
  // The end of the completion; once.
  Finished Finish(StopReason reason);

 private:
  enum class State { kReasoning, kContent, kBlock, kInvokeTag, kParameterTag, kValue };

  std::string TakeControlText(std::string_view piece, bool is_end);
  void Run(bool is_end);
  bool StepText(bool is_end);
  bool StepStray(size_t begin, std::string_view certain, bool is_end);
  bool StepBlock(bool is_end);
  bool StepTag(bool is_end);
  bool StepValue(bool is_end);
  bool IsCallsTagBelieved(size_t tag_end, bool is_end, bool& is_known);
  void OpenTag(std::string_view attributes, bool is_broken);
  void EmitText(std::string_view text);
  void EmitContent(std::string_view text);
  void LeaveContent();
  void SwitchThinking(bool to_reasoning);
  std::string_view Rest() const { return std::string_view(pending_).substr(at_); }

  const ParserOptions options_;
  State state_;
  bool is_done_ = false;
  bool is_finished_ = false;
  text::Utf8Stream utf8_;
  std::string control_pending_;  // may begin BOS or EOS
  std::string pending_;          // not yet understood from at_ on
  size_t at_ = 0;
  size_t looked_bytes_ = 0;  // how far a look-ahead in Rest() got, to continue there

  // After a block: white space that is dropped unless text follows.
  bool is_after_block_ = false;
  std::string space_;

  StopMatcher stops_;
  CallWriter calls_;
  DeltaList out_;
};

// A whole completion at once.
ParsedMessage ParseCompletion(std::string_view text, const ParserOptions& options,
                              StopReason reason);

}  // namespace fathom::chat
