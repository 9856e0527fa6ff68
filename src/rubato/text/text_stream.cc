#include "rubato/text/text_stream.h"

#include "rubato/text/utf8.h"

namespace rubato {

Status TextStream::fill(size_t want) {
  while (!at_end_ && buffer_.size() - begin_ < want) {
    RUBATO_ASSIGN_OR_RETURN(const bool more, source_->read(buffer_));
    at_end_ = !more;
    RUBATO_RETURN_IF_ERROR(validate());
  }
  return absl::OkStatus();
}

Status TextStream::validate() {
  valid_ += valid_utf8_prefix(std::string_view(buffer_).substr(valid_));
  const std::string_view rest = std::string_view(buffer_).substr(valid_);
  if (rest.empty() || (!at_end_ && is_incomplete_utf8(rest))) return absl::OkStatus();
  return absl::InvalidArgumentError(cat("[prepare] ", path_, ": byte ",
                                        dropped_ + static_cast<int64_t>(valid_),
                                        " is not UTF-8, want UTF-8 text; convert the file with "
                                        "`iconv -f ENCODING -t UTF-8`"));
}

void TextStream::consume(size_t bytes) {
  begin_ += bytes;
  // Moving the rest to the front costs less than reading it did as long as it is the smaller part.
  if (begin_ > buffer_.size() / 2) {
    buffer_.erase(0, begin_);
    dropped_ += static_cast<int64_t>(begin_);
    valid_ -= begin_;
    begin_ = 0;
  }
}

}  // namespace rubato
