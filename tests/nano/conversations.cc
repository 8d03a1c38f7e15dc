#include "tests/nano/conversations.h"

#include <string_view>

#include "base/check.h"
#include "base/file.h"

namespace fathom::nano {
namespace {

std::vector<TokenId> Ids(const Json& record, std::string_view name) {
  const Json* member = record.Find(name);
  FATHOM_CHECK(member != nullptr && member->is_array());
  std::vector<TokenId> ids;
  for (const Json& item : member->array())
    ids.push_back(static_cast<TokenId>(item.ToInt64().value()));
  return ids;
}

}  // namespace

std::vector<Conversation> ReadConversations(const std::string& model_dir) {
  const std::string text = ReadFile(model_dir + "/conversations.jsonl").value();
  std::vector<Conversation> conversations;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const Json record = ParseJson(std::string_view(text).substr(begin, end - begin)).value();
    conversations.push_back({GetString(record, "id", "record").value(), record,
                             Ids(record, "prompt_ids"), Ids(record, "output_ids")});
    begin = end + 1;
  }
  return conversations;
}

}  // namespace fathom::nano
