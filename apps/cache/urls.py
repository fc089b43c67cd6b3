from django.urls import path

from apps.cache import views

app_name = "cache"
urlpatterns = [
    path("", views.entry_list, name="list"),
    path("<int:entry_id>/", views.entry, name="entry"),
    path("<int:entry_id>/purge/", views.purge_entry, name="purge_entry"),
    path("purge/expired/", views.purge_expired, name="purge_expired"),
    path("purge/all/", views.purge_all, name="purge_all"),
]
