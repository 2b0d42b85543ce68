/* A module of python's with the paths of leak.c, which the interpreter calls. It is compiled with leak.c in it. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#define LIBRARY
#include "leak.c"

static PyObject *call(PyObject *args, void (*path)(int))
{
	int i;

	if (!PyArg_ParseTuple(args, "ii", &port, &i))
		return NULL;
	path(i);
	Py_RETURN_NONE;
}

static PyObject *py_leak(PyObject *self, PyObject *args) { return call(args, leak_orders); }
static PyObject *py_pool(PyObject *self, PyObject *args) { return call(args, pool_users); }
static PyObject *py_poll(PyObject *self, PyObject *args) { return call(args, poll_prices); }

static PyMethodDef methods[] = {
	{ "leak_orders", py_leak, METH_VARARGS, NULL },
	{ "pool_users", py_pool, METH_VARARGS, NULL },
	{ "poll_prices", py_poll, METH_VARARGS, NULL },
	{ NULL, NULL, 0, NULL },
};

static struct PyModuleDef module = { PyModuleDef_HEAD_INIT, "leakmodule", NULL, -1, methods };

PyMODINIT_FUNC PyInit_leakmodule(void) { return PyModule_Create(&module); }
