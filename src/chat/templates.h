// The fixed strings of the prompt format: control tokens, tags and the texts that the models were
// trained on, to be reproduced byte for byte (full-width bar U+FF5C and U+2581 included). Where
// they go is encode.cc; reading them back is output_parser.cc.
// Source: DeepSeek's reference encoder, published beside the V4 weights (encoding_dsv4.py).
#pragma once

#include <array>
#include <string>
#include <string_view>

namespace fathom::chat {

inline constexpr std::string_view kBos = "<｜begin▁of▁sentence｜>";
inline constexpr std::string_view kEos = "<｜end▁of▁sentence｜>";
inline constexpr std::string_view kPad = "<｜▁pad▁｜>";
inline constexpr std::string_view kFimHole = "<｜fim▁hole｜>";
inline constexpr std::string_view kFimBegin = "<｜fim▁begin｜>";
inline constexpr std::string_view kFimEnd = "<｜fim▁end｜>";
inline constexpr std::string_view kUser = "<｜User｜>";
inline constexpr std::string_view kAssistant = "<｜Assistant｜>";
inline constexpr std::string_view kThink = "<think>";
inline constexpr std::string_view kEndThink = "</think>";
inline constexpr std::string_view kDsml = "｜DSML｜";
inline constexpr std::string_view kLatestReminder = "<｜latest_reminder｜>";
inline constexpr std::string_view kAction = "<｜action｜>";
inline constexpr std::string_view kQuery = "<｜query｜>";
inline constexpr std::string_view kAuthority = "<｜authority｜>";
inline constexpr std::string_view kDomain = "<｜domain｜>";
inline constexpr std::string_view kTitle = "<｜title｜>";
inline constexpr std::string_view kExtractedUrl = "<｜extracted_url｜>";
inline constexpr std::string_view kReadUrl = "<｜read_url｜>";
// Vision checkpoints only; the text tokenizer does not know it.
inline constexpr std::string_view kImage = "<｜deepseek_image｜>";

// Every text that a tokenizer turns into one control token. None is a prefix of another.
inline constexpr std::array kControlTokens = {
    kBos,       kEos,    kPad,      kFimHole,      kFimBegin,       kFimEnd, kUser,
    kAssistant, kThink,  kEndThink, kDsml,         kLatestReminder, kAction, kQuery,
    kAuthority, kDomain, kTitle,    kExtractedUrl, kReadUrl,        kImage};

// The tags of a tool-call block. Attributes follow the openers that end in a word.
inline constexpr std::string_view kCallsOpen = "<｜DSML｜tool_calls>";
inline constexpr std::string_view kCallsClose = "</｜DSML｜tool_calls>";
// V3.2's name of the same block, accepted when reading.
inline constexpr std::string_view kCallsOpenV32 = "<｜DSML｜function_calls>";
inline constexpr std::string_view kCallsCloseV32 = "</｜DSML｜function_calls>";
inline constexpr std::string_view kInvokeOpen = "<｜DSML｜invoke";
inline constexpr std::string_view kInvokeClose = "</｜DSML｜invoke>";
inline constexpr std::string_view kParameterOpen = "<｜DSML｜parameter";
inline constexpr std::string_view kParameterClose = "</｜DSML｜parameter>";

inline constexpr std::string_view kToolResultOpen = "<tool_result>";
inline constexpr std::string_view kToolResultClose = "</tool_result>";

// The tool section is kToolsBefore + one schema per line + kToolsAfter.
extern const std::string_view kToolsBefore;
extern const std::string_view kToolsAfter;
// The response format section is this + the schema.
extern const std::string_view kResponseFormat;

// Effort preambles, three lines and an empty one.
extern const std::string_view kAbsoluteMaximum;
extern const std::string_view kBeyondMaximum;

// The token of a quick task ("action", "query", ...), empty for an unknown name.
std::string_view TaskToken(std::string_view task);

}  // namespace fathom::chat
