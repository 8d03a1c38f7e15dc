// Turns made of pieces smaller than messages: blocks of the Anthropic dialect, items of Responses.
// What the assistant said in pieces next to each other becomes one turn. Whole messages, as Chat
// sends them, and what happens to turns afterwards are common_turns.h.
#pragma once

#include <string>
#include <vector>

#include "api/common_turns.h"
#include "api/error.h"
#include "api/fields.h"
#include "api/request.h"
#include "chat/conversation.h"

namespace fathom::api {

class TurnList {
 public:
  void AddSystem(std::string text);
  // Texts and, for models that see, images.
  void AddUser(std::vector<chat::ContentPart> parts);
  void AddResult(std::string call_id, std::vector<chat::ContentPart> parts);

  // Of the assistant's turn at the end; where another turn is last, a new one begins.
  Turn& Assistant();
  void AddReasoning(const std::string& text);
  void AddAssistantText(const std::string& text);

  std::vector<Turn>& turns() { return turns_; }

 private:
  std::vector<Turn> turns_;
};

// What stands for content that no text model can take.
std::string Unsupported(std::string_view what);

// An image as a part: the image itself for models that see, else a text in its place.
chat::ContentPart ImagePart(const Facts& facts);

// As CheckToolResults, where results may stand in any order among the texts of their user turn.
Parsed<void> CheckResultsInAnyOrder(const std::vector<Turn>& turns, Profile profile);

// A short name of a user that may be any text, one that no plain user id can be.
std::string HashedUser(std::string_view user);
// Where any text may name a user: a plain user id as it is, others hashed; empty when it is.
std::string UserKey(const std::string& user);

}  // namespace fathom::api
