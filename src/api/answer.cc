#include "api/answer.h"

#include "api/answer_makers.h"

namespace fathom::api {

std::unique_ptr<AnswerWriter> MakeAnswerWriter(const Request& request, const Identity& identity) {
  switch (request.dialect) {
    case Dialect::kChat:
      return MakeChatWriter(request, identity);
    case Dialect::kCompletions:
      return MakeCompletionsWriter(request, identity);
    case Dialect::kAnthropic:
      return MakeMessagesWriter(request, identity);
    case Dialect::kResponses:
      return MakeResponsesWriter(request, identity);
  }
  return nullptr;
}

}  // namespace fathom::api
