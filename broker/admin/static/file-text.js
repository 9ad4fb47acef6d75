// Puts the text of a chosen file into a field: <input type="file" data-into="ID OF A TEXTAREA">.
document.addEventListener("change", async (event) => {
  const into = event.target.dataset?.into, file = event.target.files?.[0];
  if (!into || !file) return;
  document.getElementById(into).value = await file.slice(0, 1048576).text(); // what a request may hold
});
