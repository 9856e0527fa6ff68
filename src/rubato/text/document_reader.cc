#include "rubato/text/document_reader.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "rubato/store/file_system.h"
#include "rubato/text/text_stream.h"

namespace rubato {

namespace {

/// [bytes] A line of JSON is held in memory; a longer one is more likely not JSON lines at all.
constexpr size_t kLineBytesMax = size_t{256} << 20;

struct InputFile {
  std::string path;
  int64_t source = 0;
  int64_t bytes = 0;  // on disk
};

bool is_blank(std::string_view text) { return text.find_first_not_of(" \t\r\n\f\v") == text.npos; }

bool is_json_lines(std::string_view path) {
  for (const std::string_view packed : {".gz", ".zst"}) {
    if (path.ends_with(packed)) path.remove_suffix(packed.size());
  }
  return path.ends_with(".jsonl");
}

/// Where to cut `text` so that the first part is at most `limit` bytes; text is longer than that.
size_t cut_point(std::string_view text, size_t limit) {
  const std::string_view head = text.substr(0, limit);
  size_t blank = head.rfind("\n\n");
  if (blank != head.npos) blank += 2;
  size_t blank_crlf = head.rfind("\n\r\n");
  if (blank_crlf != head.npos) blank_crlf += 3;
  if (blank != head.npos && blank_crlf != head.npos) return std::max(blank, blank_crlf);
  if (blank != head.npos) return blank;
  if (blank_crlf != head.npos) return blank_crlf;
  if (const size_t line = head.rfind('\n'); line != head.npos) return line + 1;
  if (const size_t space = head.rfind(' '); space != head.npos && space > 0) return space;
  size_t character = limit;  // back to the beginning of the character that does not fit
  while (character > 1 && (static_cast<uint8_t>(text[character]) & 0xC0) == 0x80) --character;
  return character;
}

Status list_files(FileSystem& files, const std::string& path, int64_t source,
                  std::vector<InputFile>& out) {
  if (!files.exists(path)) {
    return absl::NotFoundError(cat("[prepare] got no ", path, ", want a file or directory"));
  }
  const auto entries = files.list(path);
  if (!entries.ok()) {  // not a directory
    RUBATO_ASSIGN_OR_RETURN(const int64_t bytes, files.file_size(path));
    out.push_back({path, source, bytes});
    return absl::OkStatus();
  }
  for (const DirectoryEntry& entry : *entries) {
    if (entry.name.starts_with('.')) continue;
    RUBATO_RETURN_IF_ERROR(list_files(files, join_path(path, entry.name), source, out));
  }
  return absl::OkStatus();
}

}  // namespace

struct DocumentReader::State {
  State(FileSystem& file_system, ReaderOptions reader_options, std::vector<std::string> paths)
      : files(file_system), options(reader_options), inputs(std::move(paths)) {}

  FileSystem& files;
  ReaderOptions options;
  std::vector<std::string> inputs;
  std::vector<InputFile> list;
  int64_t total_bytes = 0;

  size_t next_file = 0;  // not opened yet
  std::unique_ptr<TextStream> stream;
  bool json_lines = false;
  int64_t line = 0;              // of the stream, when it is of JSON lines
  int64_t finished_bytes = 0;    // on disk, of files closed again
  int64_t source_documents = 0;  // of the stream's source
  int64_t blank_documents = 0;

  /// The next document of the open file, blank or not; false at its end.
  StatusOr<bool> next_in_file(std::string& text) {
    return json_lines ? next_line(text) : next_part(text);
  }
  StatusOr<bool> next_part(std::string& text);
  StatusOr<bool> next_line(std::string& text);
  /// Closes the file; an error when its source has ended without a document.
  Status close_file();
};

StatusOr<bool> DocumentReader::State::next_part(std::string& text) {
  const auto limit = static_cast<size_t>(options.document_bytes_max);
  RUBATO_RETURN_IF_ERROR(stream->fill(limit + 1));
  const std::string_view window = stream->window();
  if (window.empty()) return false;
  const size_t size = window.size() <= limit ? window.size() : cut_point(window, limit);
  text.assign(window.substr(0, size));
  stream->consume(size);
  return true;
}

StatusOr<bool> DocumentReader::State::next_line(std::string& text) {
  size_t end = 0;
  for (size_t want = 1 << 16;; want *= 2) {
    RUBATO_RETURN_IF_ERROR(stream->fill(want));
    end = stream->window().find('\n', end);
    if (end != std::string_view::npos) break;
    end = stream->window().size();
    if (stream->at_end()) break;
    if (end > kLineBytesMax) {
      return absl::InvalidArgumentError(cat("[prepare] ", stream->path(), ": line ", line + 1,
                                            " is longer than ", kLineBytesMax,
                                            " bytes, want one JSON object a line"));
    }
  }
  const std::string_view window = stream->window();
  if (window.empty()) return false;
  ++line;
  const std::string_view bytes = window.substr(0, end);
  text.clear();
  if (!is_blank(bytes)) {
    auto json = nlohmann::json::parse(bytes, nullptr, /*allow_exceptions=*/false);
    const auto field = json.is_object() ? json.find("text") : json.end();
    if (!json.is_object() || field == json.end() || !field->is_string()) {
      return absl::InvalidArgumentError(cat("[prepare] ", stream->path(), ": line ", line,
                                            " is no JSON object with a text, want {\"text\": "
                                            "\"..\"} on every line"));
    }
    text = std::move(field->get_ref<std::string&>());
  }
  stream->consume(std::min(window.size(), end + 1));
  return true;
}

Status DocumentReader::State::close_file() {
  const InputFile& file = list[next_file - 1];
  finished_bytes += file.bytes;
  stream.reset();
  const bool source_ends = next_file == list.size() || list[next_file].source != file.source;
  if (!source_ends) return absl::OkStatus();
  const std::string& input = inputs[static_cast<size_t>(file.source)];
  if (source_documents == 0) {
    return absl::InvalidArgumentError(cat(
        "[prepare] ", input, ": got no text, want some; ",
        input == file.path ? "the file is empty or blank" : "all of its files are empty or blank"));
  }
  source_documents = 0;
  return absl::OkStatus();
}

StatusOr<std::unique_ptr<DocumentReader>> DocumentReader::open(
    FileSystem& files, const std::vector<std::string>& inputs, const ReaderOptions& options) {
  RUBATO_CHECK(options.document_bytes_max >= 16, "document_bytes_max ", options.document_bytes_max);
  if (inputs.empty()) {
    return absl::InvalidArgumentError("[prepare] got no input, want files or directories of text");
  }
  auto state = std::make_unique<State>(files, options, inputs);
  for (size_t i = 0; i < inputs.size(); ++i) {
    const size_t before = state->list.size();
    RUBATO_RETURN_IF_ERROR(list_files(files, inputs[i], static_cast<int64_t>(i), state->list));
    if (state->list.size() == before) {
      return absl::InvalidArgumentError(
          cat("[prepare] ", inputs[i], ": got a directory without files, want text in it"));
    }
  }
  for (const InputFile& file : state->list) state->total_bytes += file.bytes;
  return std::unique_ptr<DocumentReader>(new DocumentReader(std::move(state)));
}

DocumentReader::DocumentReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
DocumentReader::~DocumentReader() = default;

StatusOr<bool> DocumentReader::next(Document& out) {
  State& state = *state_;
  while (true) {
    if (state.stream == nullptr) {
      if (state.next_file == state.list.size()) return false;
      const InputFile& file = state.list[state.next_file++];
      RUBATO_ASSIGN_OR_RETURN(auto source, open_byte_source(state.files, file.path));
      state.stream = std::make_unique<TextStream>(file.path, std::move(source));
      state.json_lines = is_json_lines(file.path);
      state.line = 0;
    }
    out.source = state.list[state.next_file - 1].source;
    RUBATO_ASSIGN_OR_RETURN(const bool more, state.next_in_file(out.text));
    if (!more) {
      RUBATO_RETURN_IF_ERROR(state.close_file());
    } else if (is_blank(out.text)) {
      ++state.blank_documents;
    } else {
      ++state.source_documents;
      return true;
    }
  }
}

void DocumentReader::rewind() {
  state_->next_file = 0;
  state_->stream.reset();
  state_->finished_bytes = 0;
  state_->source_documents = 0;
  state_->blank_documents = 0;
}

int64_t DocumentReader::disk_bytes_read() const {
  return state_->finished_bytes + (state_->stream ? state_->stream->disk_bytes_read() : 0);
}
int64_t DocumentReader::disk_bytes_total() const { return state_->total_bytes; }
int64_t DocumentReader::blank_documents() const { return state_->blank_documents; }

}  // namespace rubato
