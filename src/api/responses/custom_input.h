// The one string of a custom tool's call, taken out of its JSON arguments {"input": "..."} while
// they come in.
#pragma once

#include <string>
#include <string_view>

namespace fathom::api {

class CustomInput {
 public:
  // The arguments go on; returns what of the string is new, decoded, in whole characters.
  std::string Add(std::string_view arguments);
  // The arguments are over. Returns the rest: arguments of another form come out here, the string
  // member "input" if they have one, else as they are.
  std::string Finish();

 private:
  std::string Decode();

  enum class State { kHead, kString, kDone, kOther };
  State state_ = State::kHead;
  std::string pending_;  // not yet understood; kOther: everything
};

}  // namespace fathom::api
