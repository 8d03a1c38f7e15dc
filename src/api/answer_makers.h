// The writers of the four dialects, one maker each; the room's own. Others call MakeAnswerWriter
// (answer.h), which chooses among them.
#pragma once

#include <memory>

#include "api/answer.h"

namespace fathom::api {

std::unique_ptr<AnswerWriter> MakeChatWriter(const Request& request, const Identity& identity);
std::unique_ptr<AnswerWriter> MakeCompletionsWriter(const Request& request,
                                                    const Identity& identity);
std::unique_ptr<AnswerWriter> MakeMessagesWriter(const Request& request, const Identity& identity);
std::unique_ptr<AnswerWriter> MakeResponsesWriter(const Request& request, const Identity& identity);

}  // namespace fathom::api
