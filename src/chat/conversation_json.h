// Conversations from JSON in the form of the reference encoder: the records of testdata/chat and
// what `fathom encode` reads. Kinds of values are taken as Python's encoder would take them (a
// number as system text is its text, a list as user text an error of the text revisions). Request
// bodies of the public APIs are another form, read by the api room.
#pragma once

#include "chat/conversation.h"

namespace fathom::chat {

struct EncodeRecord {
  Conversation conversation;
  EncodeOptions options;
};

// Members: messages (required), context, revision, thinking_mode, drop_thinking, reasoning_effort,
// add_default_bos_token; absent or null ones keep the value in `defaults`.
Result<EncodeRecord> ReadEncodeRecord(const Json& record, const EncodeOptions& defaults);

// One message object. Errors name the member.
Result<Message> ReadMessage(const Json& json);

}  // namespace fathom::chat
