// Bytes of frames and files: little-endian, every length bounded, CRC-32C.
//
// Writer and Reader are two visitors of the same field lists (core/fields.h):
//   void Fields(auto& io, Of<Address> auto& v) { io.Name(v.host, kMaxAddressBytes); io(v.port); }
// so that nothing is written twice. One value has exactly one image.
#pragma once
#include <chrono>
#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace orchestra {

// A T, const (Writer) or not (Reader).
template <class V, class T>
concept Of = std::same_as<std::remove_const_t<V>, T>;

// CRC-32C (Castagnoli), as in RFC 3720, appendix B.4.
std::uint32_t Crc32c(std::string_view bytes);

// At most `max` bytes of `text`, never half of a UTF-8 character.
std::string_view Cut(std::string_view text, std::size_t max);

class Writer {
 public:
  template <std::integral T>
  void operator()(const T& v) {
    auto rest = static_cast<std::uint64_t>(v);
    for (std::size_t i = 0; i < sizeof(T); i++, rest >>= 8)
      out_.push_back(static_cast<char>(rest & 0xFF));
  }
  template <class Rep, class Period>
  void operator()(const std::chrono::duration<Rep, Period>& v) {
    (*this)(static_cast<std::int64_t>(v.count()));
  }
  template <class T>
  void operator()(const std::optional<T>& v) {
    (*this)(v.has_value());
    if (v) (*this)(*v);
  }
  // A null pointer, which no caller may pass, becomes an image that every Reader refuses.
  template <class T>
  void operator()(const std::shared_ptr<const T>& v) {
    (*this)(v ? *v : T{});
  }
  template <class T>
  requires std::is_class_v<T>
  void operator()(const T& v) { Fields(*this, v); }
  template <class E>
  void Enum(const E& v, E /*last*/) {
    (*this)(static_cast<std::underlying_type_t<E>>(v));
  }
  // Kept whole: a longer one becomes an image that every Reader refuses.
  void Name(const std::string& v, std::size_t /*max*/) { Bytes(v); }
  // For people: a longer one is cut.
  void Text(const std::string& v, std::size_t max) { Bytes(Cut(v, max)); }
  template <class T>
  void List(const std::vector<T>& v, std::size_t /*max*/) {
    const std::size_t count = std::min(v.size(), kLongest);
    (*this)(static_cast<std::uint16_t>(count));
    for (std::size_t i = 0; i < count; i++) (*this)(v[i]);
  }
  template <class E>
  requires std::is_enum_v<E>
  void operator()(const E& v) { Enum(v, LastOf(v)); }
  template <class... T>
  void Choice(const std::variant<T...>& v) {
    (*this)(static_cast<std::uint8_t>(v.index()));
    std::visit([this](const auto& chosen) { (*this)(chosen); }, v);
  }
  template <class Holds>
  void Check(Holds /*holds*/) {}

  void Raw(std::string_view bytes) { out_.append(bytes); }
  const std::string& bytes() const { return out_; }
  std::string Take() { return std::move(out_); }

 private:
  static constexpr std::size_t kLongest = 0xFFFF;
  void Bytes(std::string_view v) {
    v = v.substr(0, kLongest);
    (*this)(static_cast<std::uint16_t>(v.size()));
    out_.append(v);
  }
  std::string out_;
};

// After the first failure everything reads as zero; ask `Complete` before using any of it.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  template <std::integral T>
  void operator()(T& v) {
    std::uint64_t sum = 0;
    const std::string_view bytes = Raw(sizeof(T));
    for (std::size_t i = bytes.size(); i-- > 0;)
      sum = sum << 8 | static_cast<unsigned char>(bytes[i]);
    if constexpr (std::same_as<T, bool>) Check([sum] { return sum <= 1; });
    v = static_cast<T>(sum);
  }
  template <class Rep, class Period>
  void operator()(std::chrono::duration<Rep, Period>& v) {
    std::int64_t count = 0;
    (*this)(count);
    v = std::chrono::duration<Rep, Period>(count);
  }
  template <class T>
  void operator()(std::optional<T>& v) {
    bool present = false;
    (*this)(present);
    v.reset();
    if (present && !failed_) (*this)(v.emplace());
  }
  template <class T>
  void operator()(std::shared_ptr<const T>& v) {
    auto value = std::make_shared<T>();
    (*this)(*value);
    v = std::move(value);
  }
  template <class T>
  requires std::is_class_v<T>
  void operator()(T& v) { Fields(*this, v); }
  template <class E>
  void Enum(E& v, E last) {
    std::underlying_type_t<E> number{};
    (*this)(number);
    Check([number, last] { return number <= static_cast<std::underlying_type_t<E>>(last); });
    v = failed_ ? E{} : static_cast<E>(number);
  }
  // An enum inside an optional: LastOf(E) names its last enumerator.
  template <class E>
  requires std::is_enum_v<E>
  void operator()(E& v) { Enum(v, LastOf(v)); }
  void Name(std::string& v, std::size_t max) { v = Raw(Length(max)); }
  void Text(std::string& v, std::size_t max) { v = Raw(Length(max)); }
  template <class T>
  void List(std::vector<T>& v, std::size_t max) {
    v.clear();
    for (std::size_t left = Length(max); left > 0 && !failed_; left--) (*this)(v.emplace_back());
  }
  template <class... T>
  void Choice(std::variant<T...>& v) {
    std::uint8_t index = 0;
    (*this)(index);
    Check([index] { return index < sizeof...(T); });
    if (!failed_) Emplace(v, index, std::index_sequence_for<T...>{});
  }
  template <class Holds>
  void Check(Holds holds) {
    if (!failed_ && !holds()) failed_ = true;
  }

  // The next `size` bytes, or none and failed.
  std::string_view Raw(std::size_t size) {
    if (failed_ || size > rest_.size()) {
      failed_ = true;
      return {};
    }
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }
  // Nothing failed so far.
  bool ok() const { return !failed_; }
  // Nothing failed and nothing is left.
  bool Complete() const { return !failed_ && rest_.empty(); }

 private:
  std::size_t Length(std::size_t max) {
    std::uint16_t length = 0;
    (*this)(length);
    Check([length, max] { return length <= max; });
    return failed_ ? 0 : length;
  }
  template <class Variant, std::size_t... I>
  void Emplace(Variant& v, std::size_t index, std::index_sequence<I...>) {
    (void)((index == I && ((*this)(v.template emplace<I>()), true)) || ...);
  }
  std::string_view rest_;
  bool failed_ = false;
};

// An image of one value, without magic or checksum.
template <class T>
std::string Encode(const T& value) {
  Writer out;
  out(value);
  return out.Take();
}
template <class T>
std::optional<T> Decode(std::string_view bytes) {
  Reader in(bytes);
  T value{};
  in(value);
  if (!in.Complete()) return std::nullopt;
  return value;
}

// `bytes` followed by their CRC-32C.
std::string Seal(std::string bytes);
// What Seal was given, or nothing if the checksum does not match.
std::optional<std::string_view> Unseal(std::string_view sealed);

}  // namespace orchestra
