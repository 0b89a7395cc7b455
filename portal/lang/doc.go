// Package lang says what the portal has to say in a person's language.
//
// The code is written in English, and the English wording is the key: portal.Say("Backups kept until %s.", date) in
// a rule, w.T("Back up now") on a page. en.json lists every key with its wording, de.json has the German for each. A
// test reads the source and finds a key that a catalogue lacks, one that nothing says any more, and a translation that
// forgets an argument; `go test ./portal/lang -run TestCatalogues -update` writes en.json anew, tidies the others and
// names their gaps. A key that no catalogue knows is said in English.
//
// Keys are literals where they are said: a wording put together from pieces can't be translated. A phrase that means
// two things gets its context in brackets at its end, "Open [state]", which nobody is told.
//
// A translation has the places of its key, in any order ("%[2]s of %[1]s"). One that counts has a wording for each form
// of its language, of which "one" may leave the number out. A place holds what stands there in every sentence alike, so
// a language with cases words its sentences around it: "Nächster Versuch in: %s.". Layouts of dates are keys, too; in
// a translated layout the names of days and months stay as package time has them, and are said in the language then.
//
// Besides the languages of people there is Pseudo, "en-XA": English with accents, a third longer and in brackets. On
// a page in it, what stands outside brackets is in no catalogue, and what overflows would overflow in some language.
package lang
