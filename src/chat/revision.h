// Which revision of the format a checkpoint speaks, and what the four mode names mean in it. Pure
// functions over facts; whoever opened the checkpoint supplies the facts and reports the reason.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "chat/conversation.h"

namespace fathom::chat {

// "preview", "0731" or "vision".
Result<Revision> ParseRevision(std::string_view name);
std::string_view RevisionName(Revision revision);

// What is known about the model at hand; everything empty when there is none.
struct RevisionFacts {
  std::optional<std::string> option;           // --chat-revision
  std::optional<std::string> config_revision;  // "chat_revision" of config.json
  bool has_vision_tower = false;
  bool has_dspark = false;  // mtp.0.main_proj
  // mtp.0.e_proj with the published sizes of Flash or Pro.
  bool has_published_mtp = false;
};

struct RevisionChoice {
  Revision revision;
  std::string reason;  // one sentence for the start-up message
};

// The first fact that decides, in the order of the struct; 0731 when none does. Unknown names are
// errors.
Result<RevisionChoice> ChooseRevision(const RevisionFacts& facts);

struct Mode {
  ThinkingMode thinking_mode;
  std::optional<ReasoningEffort> reasoning_effort;
};
// "none", "low", "high" or "max" as encoder settings. In the preview revision low and high are the
// same prompt, and its max is the high of later ones.
Result<Mode> ParseMode(std::string_view name, Revision revision);

}  // namespace fathom::chat
