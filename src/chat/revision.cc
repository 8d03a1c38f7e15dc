// The decision table of the format's revisions. Source: the release notes beside the checkpoints;
// the files themselves do not name their revision, so it is told from what they contain.
#include "chat/revision.h"

#include <fmt/format.h>

namespace fathom::chat {

Result<Revision> ParseRevision(std::string_view name) {
  if (name == "preview") return Revision::kPreview;
  if (name == "0731") return Revision::k0731;
  if (name == "vision") return Revision::kVision;
  return Error{fmt::format("chat revision: expected preview, 0731 or vision, found \"{}\"", name)};
}

std::string_view RevisionName(Revision revision) {
  switch (revision) {
    case Revision::kPreview:
      return "preview";
    case Revision::k0731:
      return "0731";
    case Revision::kVision:
      return "vision";
  }
  return "";
}

Result<RevisionChoice> ChooseRevision(const RevisionFacts& facts) {
  if (facts.option) {
    FATHOM_TRY(const Revision revision, ParseRevision(*facts.option));
    return RevisionChoice{
        revision, fmt::format("Chat revision {}: the option says so.", RevisionName(revision))};
  }
  if (facts.config_revision) {
    FATHOM_TRY(const Revision revision, ParseRevision(*facts.config_revision));
    return RevisionChoice{
        revision, fmt::format("Chat revision {}: config.json says so.", RevisionName(revision))};
  }
  if (facts.has_vision_tower)
    return RevisionChoice{Revision::kVision,
                          "Chat revision vision: the checkpoint has a vision tower."};
  if (facts.has_dspark)
    return RevisionChoice{Revision::k0731,
                          "Chat revision 0731: the checkpoint has a DSpark head "
                          "(mtp.0.main_proj)."};
  if (facts.has_published_mtp)
    return RevisionChoice{Revision::kPreview,
                          "Chat revision preview: the checkpoint has the MTP block (mtp.0.e_proj) "
                          "and the sizes of the preview release."};
  return RevisionChoice{Revision::k0731,
                        "Chat revision 0731: nothing in the checkpoint says otherwise."};
}

Result<Mode> ParseMode(std::string_view name, Revision revision) {
  const bool is_preview = revision == Revision::kPreview;
  if (name == "none") return Mode{ThinkingMode::kChat, std::nullopt};
  if (name == "low")
    return Mode{ThinkingMode::kThinking,
                is_preview ? std::nullopt : std::optional(ReasoningEffort::kLow)};
  if (name == "high") return Mode{ThinkingMode::kThinking, ReasoningEffort::kHigh};
  if (name == "max") return Mode{ThinkingMode::kThinking, ReasoningEffort::kMax};
  return Error{fmt::format("thinking mode: expected none, low, high or max, found \"{}\"", name)};
}

}  // namespace fathom::chat
