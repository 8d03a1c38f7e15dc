// The arguments of a tool call as JSON, written while the parameters come in: string values escaped
// piece by piece, other values once they are whole. A call that ends too early keeps its JSON open.
// Finding the tags is output_parser.cc's part.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "base/json.h"
#include "chat/delta.h"

namespace fathom::chat {

// What the parser needs to know of a tool: its name and the parameters its schema declares.
struct ToolSchema {
  std::string name;
  std::unordered_set<std::string> parameters;
};
// From function objects {"name": ..., "parameters": {"properties": {...}}}; what is missing or
// misshapen declares nothing.
std::vector<ToolSchema> ReadToolSchemas(const std::vector<Json>& functions);

class CallWriter {
 public:
  explicit CallWriter(std::vector<ToolSchema> tools) : tools_(std::move(tools)) {}

  // A call opens and is announced; without a name it is read and thrown away. No call is open.
  void BeginCall(DeltaList& out, const std::optional<std::string>& name);
  // `is_string` is the tag's attribute, nullopt when it says neither true nor false. A call is
  // open, no parameter is.
  void BeginParameter(DeltaList& out, const std::string& name, std::optional<bool> is_string);
  void AddValue(DeltaList& out, std::string_view text);
  void EndParameter(DeltaList& out);
  // The call is complete.
  void EndCall(DeltaList& out);
  // The call is cut off.
  void AbandonCall(DeltaList& out);

  bool has_open_call() const { return is_open_; }
  int64_t complete_calls() const { return complete_calls_; }
  bool has_partial_call() const { return has_partial_call_; }

 private:
  void Write(DeltaList& out, std::string_view json);
  void ReleaseBuffer(DeltaList& out);
  bool UnwrapsTo(std::string& arguments) const;
  const ToolSchema* Schema() const;

  std::vector<ToolSchema> tools_;
  int64_t next_index_ = 0;
  int64_t complete_calls_ = 0;
  bool has_partial_call_ = false;

  // The open call.
  bool is_open_ = false;
  bool is_dropped_ = false;
  std::string name_;
  std::unordered_set<std::string> seen_;  // parameter names
  // While the call may turn out to be one wrapper around its real arguments, its JSON waits here.
  bool is_buffered_ = false;
  std::string buffer_;
  std::string wrapped_;  // the text of the wrapper's value

  // The open parameter.
  bool is_ignored_ = false;
  std::optional<bool> is_string_;
  std::string value_;  // of one whose form is decided at its end
};

}  // namespace fathom::chat
