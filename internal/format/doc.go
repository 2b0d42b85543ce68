// Package format writes numbers for people: counts with separators, sizes in binary units, shares and changes. And it makes
// names that came from elsewhere safe to print. It imports nothing of the project.
//
// What a figure reads like does not depend on where it is shown: a terminal and a page show the same characters.
package format
