// One conversation as its client keeps it: the items that it sends in the form of its dialect,
// grown from raw answers and treated as the plan says.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "tests/api/harness.h"
#include "tests/conversations/plan.h"

namespace fathom::conversations {

class Conversation {
 public:
  // Keeps the reference.
  explicit Conversation(const Plan& plan) : plan_(plan), system_(plan.system) {}

  // The body of the next request.
  std::string Next(const Step& step);
  // What came for it.
  void Take(const conformance::Reply& reply);
  // Ids of the latest answer's calls.
  const std::vector<std::string>& call_ids() const { return pending_; }

 private:
  void Apply(const Step& step);
  void AddInput(const Step& step);
  Json Result(const std::string& id, const std::string& text) const;
  // As the client sends it back.
  void AddAnswerItem(Json item);
  Json Respelled(const Json& arguments) const;

  struct Turn {
    size_t items;
    std::vector<std::string> pending;
  };
  const Plan& plan_;
  std::string system_;
  Json::Array items_;
  std::vector<std::string> pending_;  // calls that want results
  std::vector<Turn> turns_;           // before each request
};

}  // namespace fathom::conversations
