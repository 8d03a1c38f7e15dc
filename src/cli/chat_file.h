// Conversations as files, for /save and /load: {"messages": [...]} in the form of the reference
// encoder, one message a line, which `fathom encode` reads as well.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "chat/conversation.h"

namespace fathom::cli {

Result<void> SaveConversation(const std::string& path, const std::vector<chat::Message>& messages);
// The messages; a system message, if any, must be the first.
Result<std::vector<chat::Message>> LoadConversation(const std::string& path);

}  // namespace fathom::cli
