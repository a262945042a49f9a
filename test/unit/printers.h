// What GoogleTest prints for the core's types: every field that is encoded, in its order, found by
// the same field lists as the bytes (core/fields.h). Include it wherever such values are compared.
#pragma once
#include <gtest/gtest.h>

#include <ostream>
#include <sstream>
#include <string>
#include <string_view>

#include "core/analysis.h"
#include "core/fields.h"

namespace orchestra {

// The third visitor of the field lists, next to Writer and Reader.
class TextWriter {
 public:
  template <std::integral T>
  void operator()(const T& v) {
    Item(std::to_string(v));
  }
  void operator()(const bool& v) { Item(v ? "yes" : "no"); }
  void operator()(const Lsn& v) { Item(ToText(v)); }
  void operator()(const Ballot& v) { Item(ToText(v)); }
  void operator()(const WriteId& v) { Item(ToText(v)); }
  template <class Rep, class Period>
  void operator()(const std::chrono::duration<Rep, Period>& v) {
    Item(std::to_string(v.count()));
  }
  template <class T>
  void operator()(const std::optional<T>& v) {
    v ? (*this)(*v) : Item("none");
  }
  template <class T>
  void operator()(const std::shared_ptr<const T>& v) {
    v ? (*this)(*v) : Item("null");
  }
  template <class T>
  requires std::is_class_v<T>
  void operator()(const T& v) {
    TextWriter inner;
    Fields(inner, v);
    Item(kIsStrong<T> ? inner.text_.str() : "{" + inner.text_.str() + "}");
  }
  template <class E>
  void Enum(const E& v, E /*last*/) {
    (*this)(static_cast<int>(v));
  }
  void Name(const std::string& v, std::size_t /*max*/) { Item('"' + v + '"'); }
  void Text(const std::string& v, std::size_t /*max*/) { Item('"' + v + '"'); }
  template <class T>
  void List(const std::vector<T>& v, std::size_t /*max*/) {
    TextWriter inner;
    for (const T& each : v) inner(each);
    Item("[" + inner.text_.str() + "]");
  }
  template <class E>
  requires std::is_enum_v<E>
  void operator()(const E& v) { Enum(v, v); }
  template <class... T>
  void Choice(const std::variant<T...>& v) {
    std::visit([this](const auto& chosen) { (*this)(chosen); }, v);
  }
  template <class Holds>
  void Check(Holds /*holds*/) {}
  std::string text() const { return text_.str(); }

 private:
  void Item(const std::string& item) {
    text_ << separator_ << item;
    separator_ = " ";
  }
  std::ostringstream text_;
  std::string_view separator_;
};

template <class T>
requires requires(TextWriter& io, const T& v) { Fields(io, v); }
void PrintTo(const T& v, std::ostream* os) {
  TextWriter out;
  out(v);
  *os << out.text();
}
inline void PrintTo(const Message& v, std::ostream* os) {
  *os << NameOf(v) << ' ';
  std::visit([os](const auto& chosen) { PrintTo(chosen, os); }, v);
}
inline void PrintTo(const Instant& v, std::ostream* os) {
  *os << v.boottime.count() << "us/" << v.monotonic_raw.count() << "us";
}
inline void PrintTo(Phase v, std::ostream* os) { *os << NameOf(v); }
inline void PrintTo(FrameError v, std::ostream* os) { *os << NameOf(v); }
inline void PrintTo(FindingCode v, std::ostream* os) { *os << NameOf(v); }
inline void PrintTo(FindingAction v, std::ostream* os) { *os << NameOf(v); }

}  // namespace orchestra
