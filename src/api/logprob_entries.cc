#include "api/logprob_entries.h"

#include "base/json.h"

namespace fathom::api {
namespace {

using LogprobWriter = void (*)(std::string& out, double logprob);

// "token": ..., "logprob": ..., "bytes": [...]
void AppendAlternative(std::string& out, const LogprobEntry::Alternative& alternative,
                       LogprobWriter append_logprob) {
  out += "\"token\":";
  AppendJsonString(out, alternative.text);
  out += ",\"logprob\":";
  append_logprob(out, alternative.logprob);
  out += ",\"bytes\":[";
  for (size_t i = 0; i < alternative.bytes.size(); ++i) {
    if (i > 0) out += ',';
    out += std::to_string(static_cast<unsigned char>(alternative.bytes[i]));
  }
  out += ']';
}

}  // namespace

void AppendLogprobEntries(std::string& out, const std::vector<LogprobEntry>& entries,
                          LogprobWriter append_logprob) {
  for (size_t i = 0; i < entries.size(); ++i) {
    out += i > 0 ? ",{" : "{";
    AppendAlternative(out, entries[i].chosen, append_logprob);
    out += ",\"top_logprobs\":[";
    for (size_t k = 0; k < entries[i].top.size(); ++k) {
      out += k > 0 ? ",{" : "{";
      AppendAlternative(out, entries[i].top[k], append_logprob);
      out += '}';
    }
    out += "]}";
  }
}

}  // namespace fathom::api
