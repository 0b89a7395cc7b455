// Package lang says what the portal has to say in a person's language.
//
// The code is written in English, and the English wording is the key: portal.Say("Backups kept until %s.", date) in
// a rule, w.T("Back up now") on a page. en.json lists every key (and may word it differently), de.json has the German
// for each. A test reads the source and finds a key that a catalogue lacks, one that nothing says any more, and a
// translation that forgets an argument; run it with -update to have en.json written anew and the gaps in the others
// named. A key that no catalogue knows is said in English.
//
// Keys are literals where they are said: a wording put together from pieces can't be translated. A phrase that means
// two things gets its context in brackets at its end, "Open [state]", which English leaves out through en.json.
//
// Besides the languages of people there is Pseudo, "en-XA": English with accents, a third longer and in brackets. On
// a page in it, what stands outside brackets is in no catalogue, and what overflows would overflow in some language.
package lang
