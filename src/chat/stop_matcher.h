// Stop strings over a text that arrives in pieces: what can no longer be part of a stop string is
// let through, the rest is held back. Which text is searched is the caller's affair.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fathom::chat {

class StopMatcher {
 public:
  // Empty stop strings are ignored.
  explicit StopMatcher(std::vector<std::string> stops);

  // The text to let through. After a hit: what stood before the stop string, then nothing more.
  // The stop string that is completed first wins; of two completed at once, the longer.
  std::string Add(std::string_view text);
  // What is held back, when no more text follows that could complete a stop string.
  std::string Flush();
  bool hit() const { return hit_; }
  // The stop string that was found; empty before.
  const std::string& found() const { return found_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  std::string found_;
  bool hit_ = false;
};

}  // namespace fathom::chat
