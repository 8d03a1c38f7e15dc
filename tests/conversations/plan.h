// Conversations as agents have them, made up from a seed: what the user and the tools say, what the
// model is made to answer, and what the client does to earlier turns between two requests. Which
// items a request consists of is conversation.h.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "api/error.h"

namespace fathom::conversations {

// How the client treats what it sends back.
enum class Client {
  kFaithful,      // as it came
  kRespells,      // arguments with their members turned around and other spacing
  kDropsThought,  // without the reasoning
  kEdits,         // changes or takes back earlier turns now and then
};
inline constexpr Client kClients[] = {Client::kFaithful, Client::kRespells, Client::kDropsThought,
                                      Client::kEdits};
const char* Name(Client client);

enum class Edit { kNone, kEarlierText, kSystem, kGoBack };

struct Step {
  Edit edit = Edit::kNone;  // before the request
  uint64_t random = 0;      // for the choices of the edit
  std::string marker;       // in the new text of this request alone
  std::string text;         // of the user
  std::string results[3];   // of the tools instead, when the answer before called some
  std::string completion;   // as the model writes it
};

struct Plan {
  api::Dialect dialect;
  Client client;
  bool thinks = false;
  bool has_tools = false;
  std::string system;
  std::vector<Step> steps;
};

// From 5 to `steps_max` requests.
Plan MakePlan(uint64_t number, int64_t steps_max);

// Of the same text, at a place that the number chooses.
std::string Edited(const std::string& text, uint64_t random);

}  // namespace fathom::conversations
