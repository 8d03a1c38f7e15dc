// From a client's messages to the conversation that is encoded, by the rules of docs/api.md,
// "Messages": where system texts go, which messages are one turn, whether tool results have their
// calls, what a beginning of the answer is. Source: chat-encoding.md, 8.2.
#pragma once

#include <string_view>
#include <vector>

#include "api/error.h"
#include "api/request.h"
#include "chat/conversation.h"

namespace fathom::api {

// One message, its texts joined: system and developer as received, user, assistant, tool (one
// result each) or latest_reminder.
struct Turn {
  chat::Message message;
  bool has_reasoning = false;  // assistant: the member was there, be it empty
};

// Every tool result answers a call of the assistant message before its run, every call is answered.
// Strict: exactly once. The texts are Chat's.
Parsed<void> CheckToolResults(const std::vector<Turn>& turns, Profile profile);

// Strict and thinking: when the conversation ends on a tool result, the assistant turn that called
// must have brought its reasoning. `member` is how the message calls it.
Parsed<void> CheckReasoningReplay(const std::vector<Turn>& turns, std::string_view member,
                                  Profile profile, const Request& request);

// Makes request.conversation of at least one message, with the request's tools and schema attached.
// A final assistant message is continued (continues_prefix).
//   - Leading system (and developer) messages become one; later ones are text of the user turn they
//     stand in. Consecutive assistant messages are one turn.
//   - A latest_reminder inside a user turn stands before it, so that the answer's header stays
//   last.
//   - The model's turn needs a user turn before it; where there is none an empty one is made.
Parsed<void> AssembleConversation(std::vector<Turn> turns, Request& request);

}  // namespace fathom::api
