// Rules T7, T9 and T11 of the tolerant reading: what a parameter's value becomes in JSON, what a
// cut-off call leaves behind, and when a wrapper named "arguments" or "input" is taken off.
#include "chat/call_writer.h"

#include <algorithm>

#include "base/check.h"
#include "chat/python_json.h"

namespace fathom::chat {
namespace {

constexpr PythonJsonOptions kPlainJson = {.reject_constants = true};

}  // namespace

std::vector<ToolSchema> ReadToolSchemas(const std::vector<Json>& functions) {
  std::vector<ToolSchema> tools;
  for (const Json& function : functions) {
    const Json* name = function.Find("name");
    if (name == nullptr || !name->is_string()) continue;
    ToolSchema tool{.name = name->string(), .parameters = {}};
    const Json* parameters = function.Find("parameters");
    const Json* properties = parameters == nullptr ? nullptr : parameters->Find("properties");
    if (properties != nullptr && properties->is_object())
      for (const auto& [key, schema] : properties->object()) tool.parameters.insert(key);
    tools.push_back(std::move(tool));
  }
  return tools;
}

const ToolSchema* CallWriter::Schema() const {
  const auto tool = std::find_if(tools_.begin(), tools_.end(),
                                 [&](const ToolSchema& t) { return t.name == name_; });
  return tool == tools_.end() ? nullptr : &*tool;
}

void CallWriter::BeginCall(DeltaList& out, const std::optional<std::string>& name) {
  FATHOM_CHECK(!is_open_);
  is_open_ = true;
  is_dropped_ = !name.has_value();
  name_ = name.value_or("");
  seen_.clear();
  is_buffered_ = false;
  if (is_dropped_) return;
  out.Add(Delta::Kind::kToolCallStart, name_, next_index_++);
  Write(out, "{");
}

void CallWriter::BeginParameter(DeltaList& out, const std::string& name,
                                std::optional<bool> is_string) {
  FATHOM_CHECK(is_open_);
  is_string_ = is_string;
  value_.clear();
  is_ignored_ = is_dropped_ || !seen_.insert(name).second;
  if (is_ignored_) return;
  if (seen_.size() == 1 && (name == "arguments" || name == "input")) {
    const ToolSchema* schema = Schema();
    is_buffered_ = schema != nullptr && !schema->parameters.contains(name);
    buffer_.clear();
    wrapped_.clear();
  } else if (is_buffered_) {
    ReleaseBuffer(out);  // not the only parameter
  }
  std::string json = seen_.size() == 1 ? "" : ", ";
  AppendJsonString(json, name);
  json += ": ";
  if (is_string_ == true) json += '"';
  Write(out, json);
}

void CallWriter::AddValue(DeltaList& out, std::string_view text) {
  if (is_ignored_) return;
  if (is_buffered_) wrapped_ += text;
  if (is_string_ == true) {
    std::string json;
    AppendJsonEscaped(json, text);
    Write(out, json);
  } else {
    value_ += text;
  }
}

void CallWriter::EndParameter(DeltaList& out) {
  if (is_ignored_) return;
  if (is_string_ == true) {
    Write(out, "\"");
  } else if (ParsePythonJson(value_, kPlainJson).ok()) {
    Write(out, value_);
  } else {
    std::string json;
    AppendJsonString(json, value_);
    Write(out, json);
  }
}

// A sole undeclared parameter that holds an object of declared ones is a wrapper.
bool CallWriter::UnwrapsTo(std::string& arguments) const {
  auto json = ParsePythonJson(wrapped_, kPlainJson);
  if (json.ok() && json.value().is_string())
    json = ParsePythonJson(std::string(json.value().string()), kPlainJson);
  if (!json.ok() || !json.value().is_object()) return false;
  const ToolSchema* schema = Schema();
  FATHOM_CHECK(schema != nullptr);
  for (const auto& [key, value] : json.value().object())
    if (!schema->parameters.contains(key)) return false;
  arguments = WritePythonJson(json.value());
  return true;
}

void CallWriter::EndCall(DeltaList& out) {
  FATHOM_CHECK(is_open_);
  is_open_ = false;
  if (is_dropped_) return;
  ++complete_calls_;
  Write(out, "}");
  if (!is_buffered_) return;
  if (std::string arguments; UnwrapsTo(arguments)) buffer_ = arguments.substr(1);  // '{' is out
  ReleaseBuffer(out);
}

void CallWriter::AbandonCall(DeltaList& out) {
  FATHOM_CHECK(is_open_);
  is_open_ = false;
  if (is_dropped_) return;
  has_partial_call_ = true;
  if (is_buffered_) ReleaseBuffer(out);
}

void CallWriter::Write(DeltaList& out, std::string_view json) {
  if (is_buffered_) {
    buffer_ += json;
  } else {
    out.Add(Delta::Kind::kToolCallArguments, json, next_index_ - 1);
  }
}

void CallWriter::ReleaseBuffer(DeltaList& out) {
  is_buffered_ = false;
  Write(out, buffer_);
}

}  // namespace fathom::chat
